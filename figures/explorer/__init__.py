"""The explorer: a local web application that looks at run folders, view by view, from their tables alone."""
