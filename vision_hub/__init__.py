"""The command line of Vision Hub: `vision-hub serve`, `vision-hub classify PICTURE`, …"""
