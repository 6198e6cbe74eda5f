"""Prompt files: what a judge is shown, what identifies it, and what is refused."""

from __future__ import annotations

import hashlib
import string
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rrmlib.comparison import CandidateSet, Comparison, Message, Order, ask
from rrmlib.parse import PARSERS, parse
from rrmlib.prompt import FOLDER, load_prompt, names, transcript

PAIR = Comparison(id="q1", query=ask("2 + 2 = ?"), first="four", second="five", label="first")
FORMATS = {
    "rrm": ("pair", "rrm", True),
    "rm_r1": ("pair", "rm_r1", False),
    "rm_r1_reasoning": ("pair", "rm_r1", True),
    "rm_r1_rubric": ("pair", "rm_r1", False),
    "rm_r1_plain": ("pair", "rm_r1", False),
    "grm": ("list", "grm", False),
    "grm_no_principles": ("list", "grm", False),
    "grm_single": ("single", "grm_single", False),
    "direct": ("pair", "direct", False),
    "rewardbench": ("pair", "rewardbench", False),
    "rewardbench2_ratings": ("single", "rewardbench2_ratings", False),
    "rewardbench2_ties": ("single", "rewardbench2_ratings", False),
    "rewardbench2_ranking": ("list", "rewardbench2_ranking", False),
    "judgebench_arena": ("pair", "judgebench_arena", False),
    "scores": ("scores", "scores", False),
    "rrm_compact": ("pair", "rrm", False),
    "rm_r1_compact": ("pair", "rm_r1", False),
    "rm_r1_rubric_compact": ("pair", "rm_r1", False),
    "rm_r1_plain_compact": ("pair", "rm_r1", False),
    "grm_no_principles_compact": ("list", "grm", False),
    "grm_compact": ("list", "grm", False),
    "direct_compact": ("pair", "direct", False),
}
# The exact tokens of each format that the papers fix: they must stand in the text, in this order.
TOKENS = {
    "rrm": r"\boxed{Assistant 1}|\boxed{Assistant 2}|## Query|## Assistant responses|### Assistant 1|### Assistant 2|"
    r"## Analysis|\boxed{Assistant 1}|\boxed{Assistant 2}",
    "rm_r1": "<type>Reasoning</type>|<type>Chat</type>|<solution>|</solution>|<eval>|</eval>|<rubric>|</rubric>|"
    "<justify>|</justify>|<quote_A>|<quote_B>|<summary_A>|<summary_B>|<answer>[[A]]</answer>|<answer>[[B]]</answer>|"
    "[Client Question]|[The Start of Chatbot A's Response]|[The End of Chatbot A's Response]|"
    "[The Start of Chatbot B's Response]|[The End of Chatbot B's Response]",
    "rm_r1_reasoning": "<answer>[[A]]</answer>|<answer>[[B]]</answer>|[Client Question]",
    "rm_r1_rubric": "<rubric>|<justify>|<eval>|<answer>[[A]]</answer>|<answer>[[B]]</answer>|[Client Question]",
    "rm_r1_plain": "<answer>[[A]]</answer>|<answer>[[B]]</answer>|[Client Question]",
    "grm": "Instruction Adherence|Usefulness|Level of Detail|Relevance|[The Begin of Response 1]|"
    "[The End of Response 1]|[The Begin of Response 2]|[The End of Response 2]|Specific Criteria:|Analysis:|"
    r"Scores:|\boxed{x, x, ...}",
    "grm_no_principles": r"[The Begin of Response 1]|[The End of Response 2]|Analysis:|Scores:|\boxed{x, x, ...}",
    "grm_single": r"Instruction Adherence|Clarity|Accuracy|Scores:|\boxed{0}|\boxed{1}",
    "direct": "[[A]]|[[B]]",
    "rewardbench": "[[A]]|[[B]]|[The Start of Assistant A's Answer]|[The End of Assistant B's Answer]",
    "rewardbench2_ranking": "A, B|[[A]]|[The Start of Assistant A's Answer]|[The End of Assistant B's Answer]",
    "judgebench_arena": "[[A>>B]]|[[A>B]]|[[A=B]]|[[B>A]]|[[B>>A]]",
}


def candidates(*responses: str) -> CandidateSet:
    return CandidateSet(id="s1", query=ask("2 + 2 = ?"), responses=responses)


def shown(name: str, n: int = 2) -> str:
    """All text of a format for n short responses."""
    prompt = load_prompt(name)
    n = {"pair": 2, "single": 1}.get(prompt.kind, n)
    item = candidates(*[f"reply{i}" for i in range(n)])
    return "\n".join(m.content for m in prompt.messages(item, Order(tuple(range(n)))))


def test_formats_are_those_promised():
    assert set(names()) == set(FORMATS)
    for name, expected in FORMATS.items():
        prompt = load_prompt(name)
        assert (prompt.kind, prompt.parser, prompt.opens_think) == expected
        assert prompt.source
        assert prompt.parser in PARSERS
        raw = (FOLDER / f"{name}.v{prompt.version}.toml").read_bytes()
        assert prompt.sha256 == hashlib.sha256(raw).hexdigest()
        assert prompt.id == f"{name}.v{prompt.version}@{prompt.sha256[:12]}"


@pytest.mark.parametrize("name", TOKENS)
def test_format_tokens_stand_in_order(name):
    text, position = shown(name), 0
    for token in TOKENS[name].split("|"):
        assert token in text[position:], token
        position = text.index(token, position) + 1


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "scores"])
def test_a_judge_that_repeats_its_prompt_gives_no_verdict(name):
    prompt = load_prompt(name)
    reading = parse(prompt.parser, shown(name), "stop", n=1 if prompt.kind == "single" else 2)
    # RRM's and GRM's single form read the last box, and a prompt that ends with one cannot be told from an answer.
    assert reading.value is None or prompt.parser in ("rrm", "grm_single")


def test_order_decides_who_is_shown_first():
    prompt = load_prompt("direct")
    system, ab = prompt.messages(PAIR, Order.AB)
    assert (system.role, ab.role) == ("system", "user")
    assert ab.content.index("four") < ab.content.index("five")
    assert prompt.messages(PAIR, Order.BA) == prompt.messages(PAIR.swap(), Order.AB)
    assert prompt.messages(PAIR, Order.BA)[0] == system
    three = load_prompt("grm_compact").messages(candidates("a", "b", "c"), Order((2, 0, 1)))[0].content
    assert "1: c\n\n2: a\n\n3: b" in three


def test_system_is_left_out_when_empty():
    assert [m.role for m in load_prompt("rm_r1_reasoning").messages(PAIR, Order.AB)] == ["user"]


def test_kinds():
    one, three = candidates("a"), candidates("a", "b", "c")
    assert load_prompt("scores").messages(three, Order((0, 1, 2))) == ()
    assert load_prompt("grm").messages(one, Order((0,)))
    assert load_prompt("grm").messages(PAIR, Order.AB)
    assert load_prompt("rrm").messages(candidates("a", "b"), Order.AB)
    with pytest.raises(ValueError, match=r"prompt rrm is of kind 'pair' and shows 2 responses; item 's1' has 3"):
        load_prompt("rrm").messages(three, Order((0, 1, 2)))
    with pytest.raises(ValueError, match=r"'single' and shows 1 response; item 'q1' has 2"):
        load_prompt("grm_single").messages(PAIR, Order.AB)
    with pytest.raises(ValueError, match="an order of 2 for item 's1' with 3 responses"):
        load_prompt("grm").messages(three, Order.AB)
    many = candidates(*["a"] * 27)
    assert "27: a" in load_prompt("grm_compact").messages(many, Order(tuple(range(27))))[0].content
    with pytest.raises(ValueError, match="by letter: 27 is more than 26"):
        load_prompt("rewardbench2_ranking").messages(many, Order(tuple(range(27))))


def test_ranking_names_all_letters():
    text = shown("rewardbench2_ranking", 4)
    assert "judge of 4 AI assistants, A, B, C, D," in text
    assert text.index("Assistant D's") > text.index("Assistant C's")


WILD = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(["{query}", "{first}", "{second}", "{response}", "{responses}", "{n}", "{letters}", "{number}"])
        | st.sampled_from(["{", "}", "{{x}}", "%s", "$first", "\\1", "\\g<1>", "{0}", "\0", "\ud800", "'''"]),
        max_size=8,
    ).map("".join),
)


@given(name=st.sampled_from(sorted(FORMATS)), query=WILD, responses=st.lists(WILD, min_size=2, max_size=2))
def test_rendering_is_one_pass(name, query, responses):
    """Every text appears exactly as it is: the message is the template's own pieces around the texts, nothing else."""
    prompt = load_prompt(name)
    n = {"pair": 2, "single": 1}.get(prompt.kind, 2)
    marks = ["\ue000query\ue001", "\ue000one\ue001", "\ue000two\ue001"]

    def render(q: str, r: list[str]) -> tuple[Message, ...]:
        item = CandidateSet(id="s", query=ask(q), responses=tuple(r[:n]))
        return prompt.messages(item, Order(tuple(range(n))))

    texts = dict(zip(marks, [query, *responses]))
    for found, pattern in zip(render(query, responses), render(marks[0], marks[1:]), strict=True):
        expected = pattern.content
        pieces = []
        while "\ue000" in expected:  # by position, not by replacement, so that texts are never looked into
            before, _, rest = expected.partition("\ue000")
            mark, _, expected = rest.partition("\ue001")
            pieces += [before, texts[f"\ue000{mark}\ue001"]]
        assert found.content == "".join([*pieces, expected])


def test_transcripts():
    single = ask("hello {first}")
    assert transcript(single) == "hello {first}"
    talk = (
        Message("system", "Be brief."),
        Message("user", "Hi"),
        Message("assistant", "Yes?"),
        Message("user", "Why?"),
    )
    assert transcript(talk) == "[System]\nBe brief.\n\n[User]\nHi\n\n[Assistant]\nYes?\n\n[User]\nWhy?"
    assert transcript(talk[:1]) == "[System]\nBe brief."


@pytest.mark.parametrize("name", [name for name in FORMATS if name.endswith("_compact")])
def test_compact_formats_fit_a_tiny_model(name):
    """1024 positions, 512 tokens of vocabulary: in the worst case every character is a token."""
    n = 2
    own = len(shown(name)) - len("2 + 2 = ?") - n * len("reply0")
    assert own <= 100  # two responses of 200 characters, a query of 200 and a template leave 300 to think in


GOOD = """
kind = "pair"
parser = "direct"
source = "test"
user = "{query} | {first} | {second} \\\\boxed{Assistant 1}"
"""


def write(path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_external_files_are_pinned(tmp_path):
    path = tmp_path / "mine.v3.toml"
    sha = write(path, GOOD)
    prompt = load_prompt(path, sha)
    assert load_prompt(str(path), sha.upper()) == prompt
    assert (prompt.name, prompt.version, prompt.sha256) == ("mine", 3, sha)
    assert prompt.messages(PAIR, Order.BA)[0].content == "2 + 2 = ? | five | four \\boxed{Assistant 1}"
    with pytest.raises(ValueError, match=f"must be pinned.*sha256={sha}"):
        load_prompt(path)
    wrong = "0" * 64
    with pytest.raises(ValueError, match=f"sha256 is {sha}, expected {wrong}"):
        load_prompt(path, wrong)
    with pytest.raises(ValueError, match=r"cannot be read: No such file"):
        load_prompt(tmp_path / "none.toml", wrong)
    with pytest.raises(ValueError, match="expected " + wrong):
        load_prompt("rrm", wrong)


def test_hub_files(tmp_path, monkeypatch):
    sha = write(tmp_path / "judge.toml", GOOD)
    asked = []

    def download(repo: str, file: str) -> str:
        asked.append((repo, file))
        if repo != "org/name":
            raise OSError("no network\nlong story")
        return str(tmp_path / "judge.toml")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    assert load_prompt("hf:org/name/folder/judge.toml", sha).name == "judge"
    assert asked == [("org/name", "folder/judge.toml")]
    with pytest.raises(ValueError, match="must be pinned"):
        load_prompt("hf:org/name/folder/judge.toml")
    with pytest.raises(ValueError, match=r"not available from the hub \(OSError: no network\)$"):
        load_prompt("hf:other/name/judge.toml", sha)
    with pytest.raises(ValueError, match="expected hf:org/name"):
        load_prompt("hf:judge.toml", sha)


BAD = {
    "placeholder {second} is missing": GOOD.replace("{second}", ""),
    "unknown placeholder {third}": GOOD.replace("{second}", "{second} {third}"),
    "unknown key 'temperature'": GOOD + "temperature = 0\n",
    "user must be str, found int": GOOD.replace('user = "', 'user = 3 # "'),
    "opens_think must be bool, found int": GOOD + "opens_think = 1\n",
    "key 'parser' is missing": GOOD.replace('parser = "direct"', ""),
    "unknown parser 'regex'": GOOD.replace('"direct"', '"regex"'),
    "kind 'triple' is none of pair, list, single, scores": GOOD.replace('"pair"', '"triple"'),
    "key 'response' belongs to kind 'list'": GOOD.replace('"pair"', '"list"'),
    "kind 'scores' has no text": GOOD.replace('"pair"', '"scores"'),
    "key 'user' is needed": 'kind = "pair"\nparser = "rrm"\nsource = "x"\n',
    "response: placeholder {response} is missing": (
        'kind = "list"\nparser = "grm"\nsource = "x"\nuser = "{query} {responses}"\nresponse = "{number}"\n'
    ),
    "(at line 2, column 8)": "\nkind = ?",
    "not UTF-8 at byte 3": b"a='\xff'",
}


@pytest.mark.parametrize("message", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, message):
    sha = write(tmp_path / "bad.toml", BAD[message])
    with pytest.raises(ValueError, match=r"^prompt .*bad\.toml: ") as caught:
        load_prompt(tmp_path / "bad.toml", sha)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_and_versions(tmp_path, monkeypatch):
    assert load_prompt("rrm.v1").id == load_prompt("rrm").id.replace("rrm.v2", "rrm.v1")
    with pytest.raises(ValueError, match=r"unknown prompt 'rmm'; known: direct, "):
        load_prompt("rmm")
    with pytest.raises(ValueError, match=r"unknown prompt '\.\./rrm'"):
        load_prompt("../rrm")
    for version in (2, 10, 9):
        write(tmp_path / f"mine.v{version}.toml", GOOD)
    monkeypatch.setattr("rrmlib.prompt.FOLDER", tmp_path)
    assert load_prompt("mine").version == 10
    assert load_prompt("mine.v9").version == 9
    assert all(c in string.hexdigits for c in load_prompt("mine").sha256)
