"""`python -m vision_hub …` is the same as `vision-hub …`."""

from vision_hub.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
