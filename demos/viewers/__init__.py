"""Views of lessons that draw in the browser, so that a click or a slider needs no request."""
