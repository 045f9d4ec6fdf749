"""Between the network and Gradio: origins, logins, limits, visitors and their files."""
