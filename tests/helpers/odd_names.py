"""Names that people give, and that programs trip over."""

from hypothesis import strategies as st

ODD = (
    "$5 shop$",
    "_hidden_",
    "a_1^2",
    r"\frac{1}",
    "100 % & #1",
    "森林公园",
    "شارع",
    "\N{GRINNING FACE} park",
    "<script>alert(1)</script>",
    "]]>",
    "[red]x[/red] :car:",
    "a|b",
    "two\nlines",
    "two  spaces ",
    "\udcff",
    "x" * 300,
)
names = st.text(st.characters(), min_size=1, max_size=12)  # halves of pairs and controls too
