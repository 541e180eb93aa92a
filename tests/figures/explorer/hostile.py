"""Texts that a data set or a model may hold, and that a page must show as nothing but text."""

SCRIPT = "<script>window.injected = 1</script>"
IMAGE = '<img src="x" onerror="window.injected = 1">'
LINK = '<a href="javascript:window.injected=1">click</a>'
QUOTES = "\"'`</div>--><b>bold</b> &lt;i&gt; %{x} ${injected}"
RIGHT_TO_LEFT = "safe \u202egnp.exe\u202c \u05e9\u05dc\u05d5\u05dd"
EMOJI = "👩‍👩‍👧‍👦 🏳️‍🌈 é ﷽"
LONG = "long " * 2000
TEXTS = (SCRIPT, IMAGE, LINK, QUOTES, RIGHT_TO_LEFT, EMOJI, LONG)
