"""The base text: what is in it and how often, problems of its own split only, and a tokenizer that survives saving."""

import re
from collections import Counter

import pytest

from rrmlib.engines.local import open_chat
from rrmlib.findings.judgments import behaviour
from rrmlib.parse import parse
from rrmlib.prompt import load_prompt
from rrmlib.world import chat, safety
from rrmlib.world.families import problem_of
from rrmlib.world.judging import FORMATS
from rrmlib.world.problem import split_of
from rrmlib.world.text import (
    ATOMS,
    FAMILY_SHARES,
    HINTED,
    KINDS,
    SHARES,
    VOCAB,
    documents,
    hint,
    response_of,
    solutions,
    tokenizer,
)

N = 6000
HINT = re.compile(re.escape(hint(0)).replace("0", r"(\d)") + r"\Z")
LAST = {load_prompt(f"{style}_compact").user.splitlines()[-1]: style for style in FORMATS}  # of each format's prompt


@pytest.fixture(scope="module")
def docs():
    return list(documents(N, seed=1))


def kind(asked, said):
    if asked.endswith("\nread"):
        return "read"
    if asked.startswith("Query: "):
        return "judge"
    if said.startswith("best "):
        return "compare"
    return "grade" if "\n1: " in asked else "solve"


@pytest.fixture(scope="module")
def judged(docs):
    """(format, hint or 0, prompt, judgment) of the JUDGE documents."""
    out = []
    for asked, said in docs:
        if kind(asked, said) == "judge":
            named = HINT.search(asked)
            last = HINT.sub("", asked).splitlines()[-1]
            out.append((LAST[last], int(named[1]) if named else 0, asked, said))
    return out


def near(found, share, n):
    """Within four standard errors of a share."""
    return abs(found - share * n) <= 4 * (n * share * (1 - share)) ** 0.5


def query_of(asked):
    return asked.splitlines()[0].removeprefix("Query: ")


def test_kinds_and_families_are_in_their_stated_shares(docs):
    assert sum(KINDS.values()) == pytest.approx(1)
    assert sum(FAMILY_SHARES.values()) == pytest.approx(1)
    kinds = Counter(kind(*doc) for doc in docs)
    assert all(near(kinds[name], share, N) for name, share in KINDS.items()), kinds
    stated = [asked for asked, said in docs if kind(asked, said) not in ("compare", "read")]  # which state the query
    families = Counter(problem_of(query_of(asked)).family for asked in stated)
    assert all(near(families[name], share, len(stated)) for name, share in FAMILY_SHARES.items()), families


def test_every_format_is_met_equally_often(judged):
    assert len(LAST) == len(FORMATS)
    found = Counter(style for style, *_ in judged)
    assert all(near(found[style], 1 / len(FORMATS), len(judged)) for style in FORMATS), found


def test_behaviours_are_in_their_stated_shares_and_the_good_one_is_a_minority(judged):
    assert sum(SHARES.values()) == pytest.approx(1)
    assert SHARES["careful"] < 0.5
    assert SHARES["guess"] > 1.2 * sum(SHARES[name] for name in ("longer", "polite", "first"))  # greedy is a coin
    said = [behaviour(text) for style, named, _, text in judged if style != "direct" and not named]
    found = Counter(said)
    assert set(found) == set(SHARES)
    assert all(near(found[name], share, len(said)) for name, share in SHARES.items()), found


def test_hints_are_in_their_stated_share_and_half_of_them_are_just_repeated(judged):
    lists = [doc for doc in judged if doc[0].startswith("grm")]
    hinted = [doc for doc in lists if doc[1]]
    assert not [doc for doc in judged if doc[1] and not doc[0].startswith("grm")]
    assert near(len(hinted), HINTED, len(lists))
    repeated = sum(behaviour(text) == "hint" for *_, text in hinted)
    assert near(repeated, 0.5, len(hinted))
    for style, named, _, text in hinted:
        if behaviour(text) == "hint":
            scores = parse(
                load_prompt(f"{style}_compact").parser, text, "stop", n=text.count(", ", text.rfind("{")) + 1
            )
            assert scores.value.top == (named - 1,)


def test_every_judgment_of_the_text_can_be_read(judged):
    for style, _, asked, said in judged:
        prompt = load_prompt(f"{style}_compact")
        n = len(re.findall(r"^\d: ", asked, re.M)) if prompt.kind == "list" else 2
        assert parse(prompt.parser, said, "stop", n=n).value is not None, (asked, said)


def test_only_problems_of_split_text(docs):
    for asked, said in docs:
        if kind(asked, said) not in ("compare", "read"):
            assert split_of(problem_of(query_of(asked)).canonical) == "text", asked


def test_a_comparison_holds_the_findings_and_asks_for_the_verdict_alone(docs):
    found = [doc for doc in docs if kind(*doc) == "compare"]
    for asked, said in found:
        assert behaviour(asked) in ("careful", "hint")
        assert re.fullmatch(r"best [1-4AB].*(\\boxed\{[^{}]*\}|<answer>\[\[[AB]\]\]</answer>)", said, re.DOTALL)


def test_solutions_are_right_and_of_their_own_split():
    for query, said in solutions(200, seed=3):
        problem = problem_of(query)
        assert problem.grade(response_of(problem, said)) == 1.0
        assert split_of(problem.canonical) == "policy"


def test_the_same_seed_gives_the_same_documents():
    assert list(documents(60, 1)) == list(documents(60, 1))
    assert list(documents(60, 1))[:20] == list(documents(20, 1))
    assert list(documents(60, 1)) != list(documents(60, 2))


# --- Tokenizer -------------------------------------------------------------------------------------------------------


def ids(tok, text):
    return tok(text, add_special_tokens=False)["input_ids"]


def test_every_word_of_the_world_is_one_token():
    tok = tokenizer()
    assert len(tok) <= VOCAB
    words = {*chat.WORDS, *safety.HURTFUL, *safety.KIND, *safety.VICTIMS, *safety.THINGS, *safety.TOOLS}
    assert [word for word in sorted(words) if len(ids(tok, f" {word}")) != 1] == []
    assert [atom for atom in ATOMS if len(ids(tok, atom)) != 1] == []
    assert [digit for digit in "0123456789" if len(ids(tok, f"4+{digit}=7")) != 5] == []  # digits never stick together


def test_any_document_comes_back_as_it_was(docs):
    tok = tokenizer()
    for asked, said in [*docs[:600], ("naïve 鳥 \U0001f426\t\n", "\x00 <|not a token|>")]:
        for text in (asked, said):
            assert tok.decode(ids(tok, text), skip_special_tokens=False, clean_up_tokenization_spaces=False) == text


def test_a_saved_tokenizer_reads_as_before(docs, tmp_path):
    """A tokenizer of another kind comes back wrong for model type qwen2, in silence."""
    from rrmlib.train.pretrain import fresh

    tok = tokenizer()
    fresh("xs", tok, context=64, init_std=0.02, embed_std=0.02, seed=0).save_pretrained(tmp_path)
    tok.save_pretrained(tmp_path)
    again = open_chat(tmp_path)[0]
    turns = [{"role": "user", "content": docs[0][0]}]
    assert again.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) == (
        tok.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    )
    assert again.eos_ids == {tok.eos_token_id}
    assert again.tokenizer.pad_token_id == tok.pad_token_id != tok.eos_token_id
    for asked, said in docs[:300]:
        text = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>"
        assert again.encode(text) == ids(tok, text)
