"""What figures share: style, marks, heat maps, menus and captions."""
