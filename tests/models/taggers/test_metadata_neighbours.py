"""The contract of the metadata-neighbour family, and each of its equations against plain loops."""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from annotator.errors import CheckpointError, ConfigError
from annotator.models import checkpoint, registry
from annotator.models.checkpoint import About
from annotator.models.context import Context, Pool, subsets
from annotator.models.sequence.trained_tagger import make_batch
from annotator.models.taggers.metadata_neighbours import LinearLstm, MetadataTagger
from annotator.models.taggers.metadata_neighbours_numpy import MAX_CACHED, MAX_ROWS, NeighbourNetwork
from annotator.models.word_vectors.word_vector_files import read_file, table_path, write_table
from annotator.models.word_vectors.word_vectors import load_word_vectors

NAMES = registry.context_names()
TAGS = ["man", "dog", "frisbee", "park", "tree", "bench", "bird"]
SIZE = 12
HIDDEN = 5
KNOWN = ("red", "green", "blue", "old", "new", "big")
VECTORS = "9 4\n" + "\n".join(
    f"{word} {' '.join(f'{value:.3f}' for value in row)}"
    for word, row in zip(
        (*KNOWN, "azure", "huge", "crimson"), np.random.default_rng(3).normal(size=(9, 4)), strict=True
    )
)
ABOUT = About("colour_grid", "1", "given")

Make = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small are slower with a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def vectors_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("vectors") / "small.txt"
    path.write_text(VECTORS + "\n")
    return str(path)


def make_context(num: int, num_candidates: int = 6, seed: int = 0) -> Context:
    rng = np.random.default_rng(seed)
    pool_features = rng.gamma(1.0, 1.0, (20, SIZE)).astype(np.float32)
    words = [tuple(rng.permutation(KNOWN)[: row % 4]) for row in range(20 + num)]
    neighbours = np.stack([rng.permutation(20)[:num_candidates] for _ in range(num)]).astype(np.int64)
    return Context(words[20:], Pool(pool_features, words[:20]), neighbours)


def make_data(num: int, seed: int = 0) -> tuple[Any, list[list[int]]]:
    rng = np.random.default_rng(seed)
    features = rng.gamma(1.0, 1.0, (num, SIZE)).astype(np.float32)
    return features, [rng.permutation(len(TAGS))[: 1 + row % 4].tolist() for row in range(num)]


@pytest.fixture(scope="module")
def make(vectors_file: str) -> Make:
    """Small taggers of the family with random weights far from their start."""

    def make_one(name: str, seed: int = 0, **settings: Any) -> MetadataTagger:
        torch.manual_seed(seed)
        learnt: dict[str, Any] = {"known_words": KNOWN}
        if settings.get("input") == "w2v":
            vectors = load_word_vectors(vectors_file)
            learnt = {"input_version": vectors.version, "input_size": vectors.size, "vectors": vectors_file}
        sizes = {"hidden_size": HIDDEN, "m": 3, "M": 6, **learnt, **settings}
        tagger = registry.create(name, TAGS, SIZE, **sizes)
        assert isinstance(tagger, MetadataTagger)
        features, sequences = make_data(20, seed)
        labels = torch.zeros(20, len(TAGS))
        for row, tags in enumerate(sequences):
            labels[row, tags] = 1
        tagger.prepare(torch.from_numpy(features), labels)
        tagger.prepare_context(tagger.encode_context(make_context(20)))
        with torch.no_grad():
            for parameter in tagger.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
        return tagger.eval()

    return make_one


@pytest.fixture(params=NAMES)
def tagger(request: pytest.FixtureRequest, make: Make) -> MetadataTagger:
    made: MetadataTagger = make(request.param)
    return made


def make_family_batch(tagger: MetadataTagger, num: int, context: Context | None, *, is_random: bool = False) -> Any:
    features, sequences = make_data(num, 1)
    drawn = None
    if context is not None:
        drawn = tagger.encode_context(context).draw(torch.arange(num), is_random=is_random)
    return make_batch(torch.from_numpy(features), sequences, len(TAGS), context=drawn)


# ---- The contract


@pytest.mark.parametrize("name", NAMES)
def test_both_implementations_are_registered_under_one_name(name: str) -> None:
    module: Any = registry.find(name)
    assert module.Network is registry.find_scoring(name)
    assert module.Network.capabilities == module.capabilities


def test_the_nine_of_the_paper_are_registered() -> None:
    assert NAMES == [
        "visual_only", "ltn", "rtn", "ltn_vecs", "ltn_all_vecs", "ltwin", "ltwin_rnn", "ltwin_2rnn", "lzip",
    ]  # fmt: skip


def test_gradients_reach_every_parameter(tagger: MetadataTagger) -> None:
    tagger.loss(make_family_batch(tagger, 20, make_context(20))).backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in tagger.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_lists_hold_each_allowed_tag_once_with_a_score_in_range(tagger: MetadataTagger) -> None:
    features, _ = make_data(4)
    prefixes, dropped = [["Dog"], [], ["unknown"], TAGS], [["tree"], [], [], []]
    for context in (None, make_context(4)):
        lists = tagger.decode(features, prefixes, dropped=dropped, context=context)
        for ranked, prefix, refused in zip(lists, prefixes, dropped, strict=True):
            barred = {tag.lower() for tag in (*prefix, *refused)}
            assert sorted(item.tag for item in ranked) == sorted(set(TAGS) - barred)
            assert all(0 <= item.score <= 1 for item in ranked)
            assert [item.score for item in ranked] == sorted((item.score for item in ranked), reverse=True)


def test_one_image_is_ranked_as_in_a_batch(tagger: MetadataTagger) -> None:
    features, _ = make_data(5)
    context = make_context(5)
    network = tagger.for_inference()
    together = network.scores(features, context)
    for row in range(5):
        alone = network.scores(features[row : row + 1], context.take([row]))
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_all_subsets_of_a_photo_are_scored_in_one_batch_and_many_photos_in_several(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make("ltwin_rnn").for_inference()
    sizes: list[int] = []
    fuse = type(network).fuse

    def noted(self: NeighbourNetwork, own: Any, near: Any) -> Any:
        sizes.append(len(own["v"]))
        return fuse(self, own, near)

    monkeypatch.setattr(type(network), "fuse", noted)
    num = len(subsets(6, 3, 10))
    assert num > 1
    network.scores(make_data(1)[0], make_context(1))
    assert sizes == [num]
    sizes.clear()
    network.scores(make_data(40)[0], make_context(40))
    assert sum(sizes) == 40 * num
    assert max(sizes) <= MAX_ROWS


def test_scores_are_cached_for_edits_of_the_list_and_computed_for_another_context(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make("ltwin_rnn").for_inference()
    given, (features, _) = make_context(1, seed=4), make_data(MAX_CACHED + 2)
    whole = Context([("red",)], given.pool, given.neighbours)
    contexts = [
        whole, whole.without_neighbours(), whole.without_words(),
        Context(whole.words, whole.pool, whole.neighbours[:, 1:]),
        Context([("old",)], whole.pool, whole.neighbours),
    ]  # fmt: skip
    expected = [[item.score for item in network.decode(features[:1], [()], context=context)[0]] for context in contexts]
    assert len({tuple(scores) for scores in expected}) == len(contexts)
    asked: list[int] = []
    scores = type(network).scores

    def noted(self: NeighbourNetwork, *args: Any) -> Any:
        asked.append(1)
        return scores(self, *args)

    monkeypatch.setattr(type(network), "scores", noted)
    for context, before in zip(contexts, expected, strict=True):
        assert [item.score for item in network.decode(features[:1], [()], context=context)[0]] == before
    assert "dog" not in {item.tag for item in network.decode(features[:1], [["dog"]], context=whole)[0]}
    assert not asked
    for row in range(1, len(features)):
        network.decode(features[row : row + 1], [()], context=whole)
    assert len(asked) == len(network._cache) + 1 == MAX_CACHED + 1
    network.decode(features[:1], [()], context=whole)  # forgotten
    assert len(asked) == MAX_CACHED + 2


def test_photos_with_fewer_neighbours_are_ranked_beside_others(tagger: MetadataTagger) -> None:
    features, _ = make_data(3)
    whole = make_context(3)
    cut = whole.neighbours.copy()
    cut[1, 2:] = -1
    cut[2, :] = -1
    network = tagger.for_inference()
    mixed = network.scores(features, Context(whole.words, whole.pool, cut))
    np.testing.assert_allclose(mixed[0], network.scores(features, whole)[0], atol=1e-6)
    two = Context(whole.words, whole.pool, cut[:, :2])
    np.testing.assert_allclose(mixed[1], network.scores(features[:2], two.take([0, 1]))[1], atol=1e-6)
    np.testing.assert_allclose(mixed[2], network.scores(features, whole.without_neighbours())[2], atol=1e-6)


def test_no_images_give_no_lists(tagger: MetadataTagger) -> None:
    assert tagger.decode(np.zeros((0, SIZE), np.float32), []) == []


def test_sizes_that_do_not_fit_are_refused(tagger: MetadataTagger) -> None:
    features, _ = make_data(3)
    with pytest.raises(ValueError, match="needs features"):
        tagger.decode(features[:, :3], [()] * 3)
    with pytest.raises(ValueError, match="context of 2 photos"):
        tagger.decode(features, [()] * 3, context=make_context(2))


@pytest.mark.parametrize("encoding", ["id", "w2v"])
def test_a_saved_tagger_gives_the_same_scores(make: Make, tmp_path: Path, encoding: str) -> None:
    features, _ = make_data(4)
    context = make_context(4)
    for name in NAMES:
        tagger = make(name, input=encoding)
        checkpoint.save(tagger, tmp_path / name, ABOUT)
        loaded = checkpoint.load(tmp_path / name)
        assert isinstance(loaded, NeighbourNetwork)
        assert loaded.name == name
        np.testing.assert_allclose(
            loaded.scores(features, context), tagger.for_inference().scores(features, context), atol=1e-6
        )
        again = checkpoint.load_module(tmp_path / name).eval()
        batch = make_family_batch(tagger, 4, context)
        assert again.loss(batch).item() == pytest.approx(tagger.loss(batch).item(), rel=1e-5)


@pytest.mark.integration
def test_other_word_vectors_than_those_of_the_training_are_refused(
    make: Make, tmp_path: Path, vectors_file: str
) -> None:
    checkpoint.save(make("ltwin", input="w2v"), tmp_path / "kept", ABOUT)
    changed = tmp_path / "small.txt"
    changed.write_text(Path(vectors_file).read_text().replace("azure", "indigo"))
    settings = tmp_path / "kept" / "tagger.json"
    tagger = make("ltwin", input="w2v")
    tagger.config = type(tagger.config)(**{**vars(tagger.config), "vectors": str(changed)})
    checkpoint.save(tagger, settings.parent, ABOUT)
    with pytest.raises(CheckpointError, match="trained with word vectors of version"):
        checkpoint.load(settings.parent)


def test_other_vectors_of_the_neighbourhood_are_refused(make: Make, tmp_path: Path, vectors_file: str) -> None:
    vectors = load_word_vectors(vectors_file)
    used: dict[str, Any] = {"neighbourhood": "w2v", "vectors": vectors_file}
    learnt = {"neighbourhood_version": vectors.version, "neighbourhood_size": vectors.size}
    for name in ("ltn", "ltwin"):
        checkpoint.save(make(name, **used | learnt), tmp_path / name, ABOUT)
        loaded = checkpoint.load(tmp_path / name)
        assert isinstance(loaded, NeighbourNetwork)
        assert loaded.neighbourhood is not None
        changed = tmp_path / "small.txt"
        changed.write_text(Path(vectors_file).read_text().replace("azure", "indigo"))
        checkpoint.save(make(name, **used | learnt | {"vectors": str(changed)}), tmp_path / name, ABOUT)
        with pytest.raises(CheckpointError, match="neighbours were found by word vectors of version"):
            checkpoint.load(tmp_path / name)


def test_checkpoints_that_do_not_name_the_vectors_of_the_neighbourhood_are_loaded(
    make: Make, vectors_file: str
) -> None:
    tagger = make("ltn", neighbourhood="w2v", vectors=vectors_file)
    settings = {name: value for name, value in tagger.settings().items() if not name.startswith("neighbourhood_")}
    kind: Any = registry.find_scoring("ltn")
    assert kind.from_arrays(tagger.vocabulary, settings, dict(tagger.weights())).neighbourhood is not None


def test_wordnets_vectors_are_used_as_input_and_for_neighbours(
    make: Make, tmp_path: Path, vectors_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words, rows = read_file(Path(vectors_file))
    write_table(table_path("wordnet", "abc"), words, rows)
    size = rows.shape[1]
    learnt = {"input_version": "abc", "input_size": size, "neighbourhood_version": "abc", "neighbourhood_size": size}
    tagger = make("ltwin", input="wnet", neighbourhood="wnet", vectors="glove", **learnt)
    checkpoint.save(tagger, tmp_path / "kept", ABOUT)
    loaded = checkpoint.load(tmp_path / "kept")
    assert isinstance(loaded, NeighbourNetwork)
    assert loaded.neighbourhood is not None
    assert loaded.neighbourhood.vectors.name == "wordnet"
    np.testing.assert_allclose(loaded.neighbourhood.encode([words[:2]]), rows[:2].sum(axis=0)[None], rtol=1e-5)
    features, _ = make_data(4, 1)
    context = make_context(4)
    scores = loaded.scores(features, context)
    batch = make_family_batch(tagger, 4, context)
    assert checkpoint.load_module(tmp_path / "kept").eval().loss(batch).item() == pytest.approx(
        tagger.loss(batch).item(), rel=1e-5
    )
    other = Context([("nothing known",)] * 4, context.pool, context.neighbours)
    assert np.abs(scores - loaded.scores(features, other)).max() > 1e-3
    write_table(table_path("wordnet", "def"), words, rows)
    os.utime(table_path("wordnet", "def"), (2e9, 2e9))
    with pytest.raises(CheckpointError, match="of version abc"):
        checkpoint.load(tmp_path / "kept")


def test_eight_images_can_be_overfitted(make: Make) -> None:
    features, sequences = make_data(8, 11)
    context = make_context(8, seed=4)
    for name in NAMES:
        tagger = make(name, hidden_size=24, dropout=0.0, l2=0.0)
        optimizer = torch.optim.Adam(tagger.parameters(), lr=0.02)
        drawn = tagger.encode_context(context).draw(torch.arange(8), is_random=False)
        batch = make_batch(torch.from_numpy(features), sequences, len(TAGS), context=drawn)
        for _ in range(100):
            optimizer.zero_grad()
            tagger.loss(batch).backward()
            optimizer.step()
        subset = Context(context.words, context.pool, context.neighbours[:, torch.linspace(0, 5, 3).round().long()])
        lists = tagger.decode(features, [()] * 8, free_length=True, context=subset)
        assert [sorted(item.tag for item in ranked) for ranked in lists] == [
            sorted(TAGS[tag] for tag in tags) for tags in sequences
        ], name


def test_invalid_settings_are_refused() -> None:
    for settings, message in (
        ({"m": 7, "M": 6}, "m must not be above M"),
        ({"m": 0}, "m must be a whole number"),
        ({"m": 2.5}, "m must be a whole number"),
        ({"input": "bert"}, "input must be one of id, w2v, wnet"),
        ({"neighbourhood": "gps"}, "neighbourhood must be one of"),
        ({"zip": "twice"}, "zip must be joined or printed"),
        ({"metadata": "exif"}, "metadata must be one of user_tags, caption"),
        ({}, "has none"),
        ({"colour": 1}, "no setting 'colour'"),
    ):
        with pytest.raises(ConfigError, match=message):
            registry.create("ltwin", TAGS, SIZE, **settings)


def test_heat_map_weights_are_the_gradient_of_the_logit_without_a_context(make: Make) -> None:
    features, _ = make_data(1, 5)
    for name in NAMES:
        tagger = make(name)
        weights = tagger.for_inference().channel_weights("park", features)
        if name in ("ltwin_2rnn", "lzip"):
            assert weights is None
            continue
        x = torch.from_numpy(features).requires_grad_()
        batch = make_batch(x, [[0]], len(TAGS))
        tagger(batch).logits[0, TAGS.index("park")].backward()
        assert x.grad is not None
        np.testing.assert_allclose(weights, x.grad[0].numpy(), atol=1e-4)
        assert tagger.for_inference().channel_weights("nothing", features) is None


# ---- The equations, in plain loops


def rectify(values: list[float]) -> list[float]:
    return [max(0.0, value) for value in values]


def layer(tagger: MetadataTagger, name: str, values: list[float]) -> list[float]:
    state = tagger.weights()
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    return [
        sum(float(weight[row, column]) * values[column] for column in range(len(values)))
        + (0.0 if bias is None else float(bias[row]))
        for row in range(len(weight))
    ]


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def run_lstm(tagger: MetadataTagger, name: str, sequence: list[list[float]]) -> list[float]:
    """Gates by the sigmoid, both tanh taken as the identity."""
    size = tagger.weights()[f"{name}.recurrent.weight"].shape[1]
    hidden, cell = [0.0] * size, [0.0] * size
    for item in sequence:
        sums = [
            a + b
            for a, b in zip(
                layer(tagger, f"{name}.inputs", item), layer(tagger, f"{name}.recurrent", hidden), strict=True
            )
        ]
        for unit in range(size):
            opened, forget, value, out = (sums[part * size + unit] for part in range(4))
            cell[unit] = sigma(forget) * cell[unit] + sigma(opened) * value
            hidden[unit] = sigma(out) * cell[unit]
    return hidden


def highest(rows: list[list[float]]) -> list[float]:
    return [max(column) for column in zip(*rows, strict=True)]


def naive_logits(tagger: MetadataTagger, x: Any, z: Any, o_x: Any, o_z: Any) -> list[float]:
    """The model's equation for one photo and its m neighbours."""

    def fc(name: str, values: list[float]) -> list[float]:
        return rectify(layer(tagger, name, values))

    name, near = tagger.name, range(len(z))
    if name == "visual_only":
        return layer(tagger, "output", x)  # eq. 8
    if name == "ltn":
        return layer(tagger, "output", fc("image", x) + highest([fc("neighbours", z[i]) for i in near]))
    if name == "rtn":
        return layer(tagger, "output", fc("image", x) + run_lstm(tagger, "neighbours", [z[i] for i in near]))
    if name == "ltn_vecs":
        return layer(tagger, "output", fc("image", x + o_x) + highest([fc("neighbours", z[i]) for i in near]))
    if name == "ltn_all_vecs":
        v_z = highest([fc("neighbours", z[i] + o_z[i]) for i in near])
        return layer(tagger, "output", fc("image", x + o_x) + v_z)
    v, u = [fc("neighbours", z[i]) for i in near], [fc("neighbour_words", o_z[i]) for i in near]
    v_x, u_x = fc("image", x), fc("words", o_x)
    if name == "ltwin":
        return layer(tagger, "output", v_x + highest(v) + u_x + highest(u))  # eq. 17
    if name == "lzip":
        sequence = [v_x + u_x, *[v[i] + u[i] for i in near]]
        if tagger.config.zip == "printed":
            sequence = [v_x, u_x, *[part for i in near for part in (v[i], u[i])]]
        return layer(tagger, "output", run_lstm(tagger, "zip_rnn", sequence))  # eq. 19
    v_z, u_z = run_lstm(tagger, "neighbour_rnn", v), run_lstm(tagger, "word_rnn", u)
    if name == "ltwin_rnn":
        return layer(tagger, "output", v_x + v_z + u_x + u_z)
    assert name == "ltwin_2rnn"
    return layer(tagger, "output", run_lstm(tagger, "final_rnn", [v_x, v_z, u_x, u_z]))  # eq. 18


def naive_scaled(tagger: MetadataTagger, features: Any) -> list[float]:
    state = tagger.weights()
    rooted = [math.copysign(math.sqrt(abs(float(value)) + 1e-6), float(value)) for value in features]
    return [
        (value - float(mean)) * float(scale)
        for value, mean, scale in zip(rooted, state["feature_mean"], state["feature_scale"], strict=True)
    ]


def naive_code(tagger: MetadataTagger, words: Any) -> list[float]:
    """Eq. 4, or eq. 6 scaled."""
    if not tagger.capabilities.uses_metadata:
        return []
    state = tagger.weights()
    if tagger.config.input == "id":
        code = [1.0 if word in words else 0.0 for word in KNOWN]
    else:
        vectors = load_word_vectors(tagger.config.vectors)
        code = [0.0] * vectors.size
        for word in words:
            found = vectors.vector(word)
            if found is not None:
                code = [a + float(b) for a, b in zip(code, found, strict=True)]
    scaled = [value * float(scale) for value, scale in zip(code, state["code_scale"], strict=True)]
    length = math.sqrt(sum(value * value for value in scaled))
    share = min(1.0, float(state["code_limit"]) / length) if length else 1.0
    return [value * share for value in scaled]


def naive_scores(tagger: MetadataTagger, features: Any, context: Context, row: int) -> list[float]:
    """Eq. 2: the mean of f over the drawn neighbourhoods."""
    total = [0.0] * len(TAGS)
    nearest = [place for place in context.neighbours[row].tolist() if place >= 0]
    drawn = subsets(len(nearest), tagger.config.m, tagger.config.num_subsets)
    for subset in drawn:
        chosen = [nearest[place] for place in subset]
        logits = naive_logits(
            tagger,
            naive_scaled(tagger, features[row]),
            [naive_scaled(tagger, context.pool.features[place]) for place in chosen],
            naive_code(tagger, context.words[row]),
            [naive_code(tagger, context.pool.words[place]) for place in chosen],
        )
        total = [a + sigma(b) for a, b in zip(total, logits, strict=True)]
    return [value / len(drawn) for value in total]


@pytest.mark.parametrize("encoding", ["id", "w2v"])
@pytest.mark.parametrize("name", NAMES)
def test_numpy_scores_agree_with_plain_loops(make: Make, name: str, encoding: str) -> None:
    tagger = make(name, input=encoding)
    features, _ = make_data(2, 6)
    context = make_context(2, seed=6)
    found = tagger.for_inference().scores(features, context)
    for row in range(2):
        np.testing.assert_allclose(found[row], naive_scores(tagger, features, context, row), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_module_agrees_with_plain_loops(make: Make, name: str) -> None:
    tagger = make(name)
    context = make_context(3, num_candidates=3, seed=8)  # m of m: the one subset
    batch = make_family_batch(tagger, 3, context)
    features = batch.features.numpy()
    _, sequences = make_data(3, 1)
    order = sorted(range(3), key=lambda row: -len(sequences[row]))
    with torch.no_grad():
        found = tagger(batch).logits
    for row, source in enumerate(order):
        expected = naive_scores(tagger, features[row][None], context.take([source]), 0)
        np.testing.assert_allclose(torch.sigmoid(found[row]).numpy(), expected, atol=2e-5)


def test_lzip_as_printed_agrees_with_plain_loops_in_both_implementations(make: Make) -> None:
    tagger = make("lzip", zip="printed")
    features, _ = make_data(2, 6)
    context = make_context(2, seed=6)
    found = tagger.for_inference().scores(features, context)
    for row in range(2):
        np.testing.assert_allclose(found[row], naive_scores(tagger, features, context, row), atol=2e-5)
    near = make_context(3, num_candidates=3, seed=8)  # m of m: the one subset
    batch = make_family_batch(tagger, 3, near)
    _, sequences = make_data(3, 1)
    order = sorted(range(3), key=lambda row: -len(sequences[row]))
    with torch.no_grad():
        logits = tagger(batch).logits
    for row, source in enumerate(order):
        expected = naive_scores(tagger, batch.features.numpy()[row][None], near.take([source]), 0)
        np.testing.assert_allclose(torch.sigmoid(logits[row]).numpy(), expected, atol=2e-5)


def test_linear_lstm_by_hand() -> None:
    lstm = LinearLstm(1, 1)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.inputs.weight[2] = 3.0  # the value alone; all gates half open
    # c_1 = .5 * 3 = 1.5; c_2 = .5 * 1.5 + .5 * 6 = 3.75; h_2 = .5 * 3.75, beyond what tanh would let through
    assert lstm(torch.tensor([[[1.0], [2.0]]])).item() == pytest.approx(1.875)
    assert lstm(torch.zeros(2, 0, 1)).tolist() == [[0.0], [0.0]]


def test_penalty_is_lambda_times_the_squared_weights(make: Make) -> None:
    tagger = make("ltn", l2=0.01, dropout=0.0)
    batch = make_family_batch(tagger, 4, make_context(4))
    squares = sum(float((value**2).sum()) for key, value in tagger.weights().items() if key.endswith(".weight"))
    plain = tagger.loss(batch).item()
    tagger.train()
    assert tagger.loss(batch).item() - plain == pytest.approx(0.01 * len(TAGS) * squares, rel=1e-4)


def test_weights_start_as_in_he_et_al_and_forget_gates_at_one() -> None:
    torch.manual_seed(0)
    tagger = registry.create("lzip", TAGS, 400, known_words=KNOWN, hidden_size=64)
    weights = tagger.weights()
    assert weights["image.weight"].std() == pytest.approx(math.sqrt(2 / 400), rel=0.05)
    assert not weights["image.bias"].any()
    np.testing.assert_array_equal(weights["zip_rnn.inputs.bias"], [0.0] * 64 + [1.0] * 64 + [0.0] * 128)
    assert not weights["zip_rnn.recurrent.weight"].any()


@pytest.mark.parametrize("name", ["rtn", "ltwin_rnn", "ltwin_2rnn", "lzip"])
def test_the_first_logits_grow_little_with_the_neighbours(name: str) -> None:
    torch.manual_seed(0)
    tagger = registry.create(name, TAGS, 100, known_words=KNOWN, hidden_size=50).eval()
    assert isinstance(tagger, MetadataTagger)

    def deviation(m: int) -> float:
        words, of_neighbours = (torch.rand(num, len(KNOWN)).round() for num in (50, 50 * m))
        near = torch.randn(50, m, 100), of_neighbours.view(50, m, -1)
        with torch.no_grad():
            return float(tagger.logits(torch.randn(50, 100), near[0], words, near[1]).std())

    # From the start of He et al. it is 60 times as much, and more.
    assert deviation(24) < 3 * deviation(3)


# ---- Neighbourhoods and codes


def test_training_draws_other_subsets_each_time_and_keeps_them_nearest_first(make: Make) -> None:
    tensors = make("ltn").encode_context(make_context(4, num_candidates=6))
    place_of = [{int(row): place for place, row in enumerate(nearest)} for nearest in tensors.neighbours]
    torch.manual_seed(0)
    seen = set()
    for _ in range(20):
        batch = tensors.draw(torch.arange(4), is_random=True)
        for row in range(4):
            rows = [
                next(i for i, features in enumerate(tensors.pool_features) if torch.equal(features, drawn))
                for drawn in batch.neighbours[row]
            ]
            places = [place_of[row][pool_row] for pool_row in rows]
            assert places == sorted(set(places))
            assert len(places) == 3
            seen.add((row, *places))
    assert len(seen) > 20


def test_subsets_at_test_are_fixed_and_in_order() -> None:
    drawn = subsets(12, 6, 10)
    assert drawn == subsets(12, 6, 10)
    assert len(drawn) == 10
    assert all(subset == tuple(sorted(set(subset))) and len(subset) == 6 for subset in drawn)
    assert subsets(6, 6, 10) == ((0, 1, 2, 3, 4, 5),)
    assert subsets(2, 6, 10) == ((0, 1),)
    assert subsets(0, 6, 10) == ((),)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "visual_only"])
def test_neighbours_change_the_scores(make: Make, name: str) -> None:
    features, _ = make_data(3)
    network = make(name).for_inference()
    context = make_context(3)
    assert np.abs(network.scores(features, context) - network.scores(features, make_context(3, seed=9))).max() > 1e-3
    assert np.abs(network.scores(features, context) - network.scores(features, context.without_neighbours())).max() > (
        1e-3
    )


def test_a_w2v_model_takes_words_that_were_not_in_its_training(make: Make) -> None:
    features, _ = make_data(1)
    network = make("ltwin", input="w2v").for_inference()
    context = make_context(1)
    scores = [
        network.scores(features, Context([words], context.pool, context.neighbours))
        for words in (("azure", "huge"), ("crimson",), ())
    ]
    assert np.abs(scores[0] - scores[1]).max() > 1e-3  # unseen words have different codes
    unknown = network.scores(features, Context([("qqqq", "пес")], context.pool, context.neighbours))
    np.testing.assert_allclose(unknown, scores[2], atol=1e-6)  # words without a vector add nothing


def test_ten_thousand_words_give_a_code_no_longer_than_that_of_a_training_photo(make: Make) -> None:
    features, _ = make_data(1)
    context = make_context(1)
    for encoding in ("id", "w2v"):
        network = make("ltwin", input=encoding).for_inference()
        words = [f"word {number}" for number in range(10_000)] + [*KNOWN, "azure", "huge", "crimson"]
        codes = network._codes([words])
        assert np.linalg.norm(codes) <= network.weights["code_limit"] * 1.0001
        scores = network.scores(features, Context([words], context.pool, context.neighbours))
        assert np.isfinite(scores).all()
