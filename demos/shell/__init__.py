"""What tabs share: events, errors, pickers, pictures, answers and endpoints."""
