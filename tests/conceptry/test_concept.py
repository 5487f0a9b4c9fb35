"""concept.yaml as people write it, mistakes included."""

import json
import pickle
from pathlib import Path

import pytest
from pydantic import BaseModel

from conceptry.concept import (
    BASE_MODELS,
    PROMPT_TOKENS,
    ConceptSpec,
    RetrainSpec,
    check_name,
    json_schema,
    load_spec,
)
from conceptry.desired import ConceptSource, parse_sources
from conceptry.errors import SpecError
from trainer.base_weights.presets import PRESETS

PATH = "concepts/my-cat/concept.yaml"
MINIMAL = "placeholder_token: <my-cat>\ninitializer_token: cat\n"
DVC = "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e.dir\n  size: 5\n  nfiles: 2\n  hash: md5\n  path: images\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(text, PATH)
    return str(caught.value).splitlines()


def test_two_lines_are_a_concept() -> None:
    spec = load_spec(MINIMAL, PATH)
    assert (spec.placeholder_token, spec.initializer_token) == ("<my-cat>", "cat")
    assert (spec.base_model, spec.learnable_property, spec.num_vectors, spec.resolution) == ("tiny", "object", 1, None)
    assert (spec.release, spec.retrain, spec.suspend) == ("latest", "never", False)
    assert spec.training.max_steps is None
    assert spec.training.held_out is None


def test_everything_written_out() -> None:
    spec = load_spec(
        """
        placeholder_token: <my-cat_2>
        initializer_token: cat
        learnable_property: style
        num_vectors: 4
        base_model: sd-v1-4
        resolution: 512
        training: {max_steps: 3000, learning_rate: 5e-4, batch_size: 4, early_stopping: false, seed: 7, held_out: 2}
        gate: {min_improvement: 0.1}
        release: v12
        retrain: {every_days: 30}
        suspend: true
        space: {title: "My cat: the painting", emoji: 🐈, hardware: t4-small, private: true}
        endpoint: {vendor: gcp, region: us-east4, instance_type: nvidia-l4, instance_size: x1}
        """,
        PATH,
    )
    assert spec.training.learning_rate == 0.0005
    assert spec.retrain == RetrainSpec(every_days=30)
    assert spec.space.title == "My cat: the painting"


def test_all_mistakes_of_a_file_at_once_with_their_lines() -> None:
    text = """\
placeholder_token: <My-Cat>
initializer_token: cat
trainning: {seed: 1}
learnable_property: thing
training:
  max_steps: many
  seed: 1
  seed: 2
"""
    assert mistakes(text) == [
        f"{PATH}:1: placeholder_token: '<My-Cat>' is not a placeholder token: write lower-case letters, digits, - and "
        "_ in angle brackets, for example <my-cat>",
        f"{PATH}:3: trainning: unknown key; did you mean training?",
        f"{PATH}:4: learnable_property: 'thing' is not one of: object, style",
        f"{PATH}:6: training.max_steps: 'many' is not a whole number",
        f"{PATH}:8: training.seed: is given twice, first in line 7",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("base_model: sdxl", "base_model: 'sdxl' is not one of: tiny, sd-v1-4"),
        ("learnable-property: style", "learnable-property: unknown key; did you mean learnable_property?"),
        ("zzz: 1", "zzz: unknown key; allowed here: placeholder_token, initializer_token, learnable_property, "),
        ("training: {lr: 1}", "training.lr: unknown key; allowed here: max_steps, learning_rate, batch_size, "),
        ("training: {maxsteps: 1}", "training.maxsteps: unknown key; did you mean max_steps?"),
        ("training: 3", "training: 3 is not a section; it may hold: max_steps, learning_rate, "),
        ("training: [1]", "training: [1] is not a section"),
        ("training: {max_steps: 0}", "training.max_steps: 0 is too small: 1 at least"),
        ("training: {max_steps: 2.5}", "training.max_steps: 2.5 is not a whole number"),
        ("training: {learning_rate: 0}", "training.learning_rate: 0 is too small: it must be more than 0"),
        ("training: {learning_rate: fast}", "training.learning_rate: 'fast' is not a number"),
        ("training: {early_stopping: 'on'}", "training.early_stopping: 'on' is not one of: true, false"),
        ("gate: {min_improvement: .nan}", "gate.min_improvement: nan is not a finite number"),
        ("gate: {min_improvement: 20}", "gate.min_improvement: 20 is too large: it must be less than 1"),
        ("num_vectors: true", "num_vectors: true is not a whole number"),
        ("num_vectors: 99", "num_vectors: 99 is too large: 75 at most"),
        ("resolution: 100", "resolution: 100 is not a multiple of 64"),
        ("release: v0", "release: 'v0' is not one of: latest, none, or a version such as v3"),
        ("release: newest", "release: 'newest' is not one of: latest, none, or a version such as v3"),
        ("release: 2", "release: 2 is not text; put it in quotes"),
        ("release: null", "release: null is not text; put it in quotes"),
        ("release: 2024-13-45", "release: '2024-13-45' is not one of: latest, none"),
        ("retrain: weekly", "retrain: 'weekly' is not one of: never, {every_days: N}"),
        ("retrain: 30", "retrain: 30 is not one of: never, {every_days: N}"),
        ("retrain: {every_days: 0}", "retrain.every_days: 0 is too small: 1 at least"),
        ("suspend: 1", "suspend: 1 is not one of: true, false"),
        ("space: {title: ''}", "space.title: '' is not one line of text"),
        (f"space: {{title: {'x' * 61}}}", "is too long: 60 characters at most"),
        ("endpoint: {vendor: oracle}", "endpoint.vendor: 'oracle' is not one of: aws, azure, gcp"),
        ("1: 2", "a key must be a word"),
        ("<<: {suspend: true}", "a key must be a word"),
        ("suspend: !!python/name:os.system x", "is not valid YAML: could not determine a constructor for the tag"),
    ],
)
def test_mistake_in_words(line: str, words: str) -> None:
    (message,) = mistakes(MINIMAL + line)
    assert message.startswith(f"{PATH}:3: ")
    assert words in message


@pytest.mark.parametrize("token", ["my-cat", "<my cat>", "<>", "<MyCat>", "<|endoftext|>", "<a><b>", "<-a>", "<ä>"])
def test_placeholder_tokens_that_the_tokenizer_would_not_find(token: str) -> None:
    assert "is not a placeholder token" in mistakes(f"placeholder_token: '{token}'\ninitializer_token: cat")[0]


@pytest.mark.parametrize(
    "words",
    [
        "",
        " ",
        "two  words",
        " cat",
        "cat ",
        "a b c d e",
        "Cat",
        "<cat>",
        "a\tb",
        "x" * 73,
        "my-cat@3",
        "My-cat@v3",
        "@v3",
    ],
)
def test_initializer_is_one_to_four_lower_case_words(words: str) -> None:
    found = mistakes(f"placeholder_token: <x>\ninitializer_token: {json.dumps(words)}")[0]
    assert "is not an initializer: write one lower-case word, or up to four" in found


def test_initializer_may_be_a_phrase_or_a_version() -> None:
    texts = (f"placeholder_token: <x>\ninitializer_token: {text}\n" for text in ("rc car", "my-cat@v3"))
    specs = [load_spec(text, PATH) for text in texts]
    assert [spec.initializer_token for spec in specs] == ["rc car", "my-cat@v3"]
    assert [spec.initial_version for spec in specs] == [None, ("my-cat", "v3")]


@pytest.mark.parametrize("model", BASE_MODELS)
def test_vectors_must_fit_into_a_prompt(model: str) -> None:
    """One more would leave no prompt with the token that is not cut off."""
    most = PROMPT_TOKENS[model]
    text = f"{MINIMAL}base_model: {model}\n"
    assert load_spec(f"{text}num_vectors: {most}\n", PATH).num_vectors == most
    [mistake] = mistakes(f"{text}num_vectors: {most + 1}\n")
    assert mistake.startswith(f"{PATH}:4: num_vectors: ")
    assert str(most) in mistake


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "just words", "null", "3"])
def test_files_that_are_no_mapping(text: str) -> None:
    assert "must hold `key: value` lines" in mistakes(text)[0]


def test_missing_keys_say_what_belongs_there() -> None:
    assert mistakes("suspend: false\n") == [
        f"{PATH}:1: initializer_token: is missing: What to start from: one known word, for example cat; up to four, "
        "for example stuffed animal; or the vectors of a published version, for example my-cat@v3.",
        f"{PATH}:1: placeholder_token: is missing: The new token that stands for the concept in prompts, for example "
        "<my-cat>; unique over the repo.",
    ]


def test_small_files_that_would_grow_large_are_refused() -> None:
    laughs = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert mistakes(laughs) == [f"{PATH}:1: b: uses an anchor; write the value out"]
    assert mistakes("a: " + "[" * 50_000) == [f"{PATH}:1: is nested deeper than 20 levels"]
    assert mistakes("a: &a [*a]") == [f"{PATH}:1: a: uses an anchor; write the value out"]
    assert mistakes(f"a: {'x' * 70_000}") == [f"{PATH}: is too long: 70003 characters, 65536 at most"]
    assert "holds a value that YAML cannot read" in mistakes("a: 1" + "0" * 5000)[0]
    assert load_spec(MINIMAL + "suspend: &unused true", PATH).suspend, "an anchor that nobody uses does no harm"


def test_syntax_errors_have_their_line() -> None:
    assert mistakes("suspend: [1, 2\n") == [
        f"{PATH}:2: is not valid YAML: while parsing a flow sequence, did not find expected ',' or ']'"
    ]
    assert "is not valid YAML" in mistakes("a: \x00")[0]
    assert "is not valid YAML" in mistakes("a: 1\n---\nb: 2\n")[0]


def test_the_error_survives_a_pickle() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec("suspend: 3", PATH)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.problems[0].line == 1
    assert copy.path == PATH
    assert not copy.retryable


@pytest.mark.parametrize("name", ["a", "my-cat", "2cats", "a" * 63])
def test_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a--b", "My-Cat", "my_cat", "a" * 64, "a.b", "../x", "a\n", "ä"])
def test_names_that_the_hub_or_the_grammar_refuses(name: str) -> None:
    with pytest.raises(SpecError, match="cannot name a concept"):
        check_name(name)


def test_sources_become_desired_concepts_in_order_of_their_names() -> None:
    other = MINIMAL.replace("my-cat", "other")
    concepts = parse_sources([ConceptSource("z", other, DVC), ConceptSource("my-cat", MINIMAL, DVC)])
    assert list(concepts) == ["my-cat", "z"]
    assert concepts["z"].spec == load_spec(other, PATH)
    assert concepts["z"].dvc_md5 == "d41d8cd98f00b204e9800998ecf8427e.dir"
    assert concepts["z"].error is None
    assert concepts["z"].images is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (ConceptSource("my-cat", None, DVC), "concepts/my-cat/concept.yaml: is missing"),
        (
            ConceptSource("my-cat", MINIMAL, None),
            "concepts/my-cat/images.dvc: is missing; run `dvc add concepts/my-cat/images` and commit it",
        ),
        (ConceptSource("my-cat", MINIMAL, "outs: []"), "images.dvc: outs: does not track one folder of images"),
        (ConceptSource("my-cat", MINIMAL, DVC.replace(".dir", "")), "tracks a single file, not a folder"),
        (ConceptSource("my-cat", MINIMAL, "<<<<<<< HEAD\nouts: []\n"), "images.dvc:2: is not valid YAML"),
        (
            ConceptSource("my-cat", f"{MINIMAL}space:\n  title: B\udce4r\n", DVC),
            "concepts/my-cat/concept.yaml:4: is not UTF-8 (byte 0xe4); save it with that encoding",
        ),
        (ConceptSource("my-cat", MINIMAL, f"{DVC}# B\udce4r\n"), "is not UTF-8 (byte 0xe4)"),
        (ConceptSource("my-cat", MINIMAL + "#" * 70_000, DVC), "concept.yaml: is too long"),
        (ConceptSource("My-Cat", MINIMAL, DVC), "'My-Cat' cannot name a concept"),
        (ConceptSource("my-cat", "release: x", DVC), "concepts/my-cat/concept.yaml:1: release: 'x' is not one of"),
    ],
)
def test_a_bad_source_holds_its_own_concept_only(source: ConceptSource, words: str) -> None:
    good = ConceptSource("good", MINIMAL.replace("my-cat", "good"), DVC)
    concepts = parse_sources([good, source])
    assert words in str(concepts[source.name].error)
    assert concepts["good"].error is None


@pytest.mark.parametrize("damage", ["# B\udce4r\n", "#" * 70_000 + "\n", "a: [\n", "a: 1\na: 2\n", "? {}\n: 1\n"])
def test_a_file_that_cannot_be_read_withdraws_what_it_says(damage: str) -> None:
    text = f"release: none  # gone\r\nspace:\n  private: true\n{damage}"
    concept = parse_sources([ConceptSource("my-cat", text, DVC)])["my-cat"]
    assert concept.error is not None
    assert (concept.hidden, concept.taken_down) == (True, True)


def test_two_concepts_cannot_have_the_same_token() -> None:
    sources = [ConceptSource(name, MINIMAL, DVC) for name in ("a", "b", "c")]
    concepts = parse_sources([*sources, ConceptSource("d", MINIMAL.replace("my-cat", "d"), DVC)])
    assert str(concepts["a"].error) == (
        "concepts/a/concept.yaml: placeholder_token: <my-cat> is also the token of b, c; choose a different token"
    )
    assert concepts["d"].error is None


def test_the_committed_schema_is_up_to_date(repo_root: Path) -> None:
    committed = (repo_root / "concepts" / "concept.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == json_schema(), "run `make schema`"


def test_the_base_models_are_those_that_the_trainer_has() -> None:
    assert set(BASE_MODELS) == set(PRESETS)


def test_every_key_is_described() -> None:
    def undescribed(model: type[BaseModel]) -> list[str]:
        return [name for name, field in model.model_fields.items() if not field.description]

    sections = [ConceptSpec, *(type(value) for _, value in load_spec(MINIMAL, PATH) if isinstance(value, BaseModel))]
    assert [undescribed(section) for section in [*sections, RetrainSpec]] == [[]] * (len(sections) + 1)
