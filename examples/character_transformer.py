"""A small Transformer that learns to write, one character after another.

Run it with `python examples/character_transformer.py`. It reads sentences made of a few words by a
few rules, which nobody tells it: it is only asked, at each place, which character comes next.
Afterwards it writes sentences of its own. A Transformer (Vaswani et al., 2017) looks back at all
that came before at once, where a recurrent network carries it along.
"""

import numpy as np

import tinygrad_edu as edu
from tinygrad_edu import layers

LENGTH, SIZE, HEADS, BLOCKS = 32, 48, 4, 2

# The text: "the old owl sees a red fox." and the like.
generator = np.random.default_rng(0)
ARTICLES, NOUNS = ["a", "the"], ["cat", "dog", "fox", "owl", "frog"]
ADJECTIVES, VERBS = ["old", "red", "small", "wise"], ["hears", "likes", "sees", "calls"]


def sentence() -> str:
    one = generator.choice
    kinds = [ARTICLES, ADJECTIVES, NOUNS, VERBS, ARTICLES, ADJECTIVES, NOUNS]
    return " ".join([str(one(kind)) for kind in kinds]) + ". "


class Positions(layers.Layer):
    """Adds to each place a vector that is learned for it: attention itself sees no order."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.table = self.add_weight(shape=input_shape[1:], initializer="random_normal")

    def call(self, inputs: edu.Tensor) -> edu.Tensor:
        return inputs + self.table


def write(model: edu.Model, characters: list[str], start: str, count: int) -> str:
    """The start and `count` more characters, each drawn as the model expects it."""
    written = [characters.index(c) for c in start]
    scores = edu.jit(lambda x: model(x))
    for _ in range(count):
        seen = written[-LENGTH:]
        padded = np.array([seen + [0] * (LENGTH - len(seen))], "int32")  # nobody looks ahead
        last = scores(padded)[0, len(seen) - 1]
        written.append(int(edu.random.categorical(None, 2 * last)))  # a little less daring
    return "".join([characters[i] for i in written])


def main() -> None:
    text = "".join([sentence() for _ in range(1000)])
    characters = sorted(set(text))
    numbers = np.array([characters.index(c) for c in text])

    # Pieces of the text, and the same pieces one character further on.
    starts = generator.integers(0, len(numbers) - LENGTH, size=4800)
    pieces = numbers[starts[:, None] + np.arange(LENGTH)]
    following = numbers[starts[:, None] + np.arange(LENGTH) + 1]

    edu.random.seed(0)
    inputs = edu.Input((LENGTH,), dtype="int32")
    x = Positions()(layers.Embedding(len(characters), SIZE)(inputs))
    for _ in range(BLOCKS):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(HEADS, SIZE // HEADS)(y, y, use_causal_mask=True)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(SIZE)(layers.Dense(4 * SIZE, "gelu")(y))
    logits = layers.Dense(len(characters))(layers.LayerNormalization()(x))

    model = edu.Model(inputs, logits)
    model.compile(
        optimizer=edu.optimizers.Adam(0.003),
        loss=edu.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(pieces, following, batch_size=32, epochs=2, verbose=2)

    story = write(model, characters, "the ", 200)
    print(story)
    words = story.replace(".", "").split()[:-1]  # the last may have been cut off
    known = {*ARTICLES, *NOUNS, *ADJECTIVES, *VERBS}
    print(f"{sum(word in known for word in words)} of {len(words)} words are words")


if __name__ == "__main__":
    main()
