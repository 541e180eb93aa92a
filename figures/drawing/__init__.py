"""Style, marks, heat maps, menus and captions that figures share."""
