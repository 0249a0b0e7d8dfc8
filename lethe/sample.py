"""An invented shop, for trying Lethe out: one export a day in Amazon Personalize's columns.

Shoppers have a taste for a few of nine categories that drifts slowly and finer latent
preferences within them; items follow a power law of popularity and some sell by season; shoppers
and items keep arriving, and a few shoppers ask to be forgotten. A session is views, some of which
become carts and some of those purchases (EVENT_VALUE: money spent). The export has its flaws:
guests without an id, events sent twice, and shoppers who asked to be forgotten and still appear
for `LATE_DAYS` more days.

Everything is a function of its arguments: a day's bytes do not depend on which days were written
before it. The same numpy on the same kind of processor gives the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lethe.durable import write_bytes

START = date(2026, 1, 1)
SECONDS = 86_400
LATE_DAYS = 2
GROWTH_DAYS = 240  # those who are not there on day 0 arrive over this many days
CATEGORIES = ("books", "coffee", "garden", "kitchen", "lamps", "music", "outdoor", "tea", "toys")
COUNTRIES = ("DE", "FR", "NL", "IT", "ES", "PL", "AT", "SE")
SEGMENTS = ("casual", "regular", "devoted")
BRANDS = ("alder", "birk", "corvo", "dune", "elm", "fjord", "gale", "hafen", "iris", "juno")
BANDS = ("low", "middle", "high")
INTERACTION_COLUMNS = ("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE", "EVENT_ID")
LATENT = 6  # traits below the categories
TWO_CATEGORIES, EVENING, FOUNDERS = 0.2, 0.6, 0.7  # shares of items, sessions, shoppers and items
GUEST, TWICE, CART, PURCHASE = 0.005, 0.003, 0.16, 0.5  # chances of a view, and of a cart

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SampleRequests:
    """Raw user ids that ask for their rights on one day."""

    erase: tuple[str, ...]
    objecting: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class _Shop:
    """The world behind the exports; arrays are in the order of `users` and of `items`."""

    seed: int
    users: tuple[str, ...]
    items: tuple[str, ...]
    user_arrival: Ints
    item_arrival: Ints
    activity: Reals  # sessions a day
    taste: Reals  # (2, users, dimensions): from the first towards the second in a year
    trait: Reals  # (items, dimensions): category indicators, then latent traits
    popularity: Reals  # log scale
    season: Reals  # day of the year at which the item sells best
    price: Reals
    category: Ints
    second: Ints  # a second category, or -1
    leaving: Ints  # the day a shopper asks to be forgotten; far away for most
    objecting: Ints


def write_history(
    landing: Path, days: int = 120, seed: int = 7, users: int = 2000, items: int = 800
) -> tuple[Path, ...]:
    """Write the exports of days 0 to `days` - 1 and the last day's `items.csv` and `users.csv`.

    About 840 interactions a day with the default sizes. Returns the files written.
    """
    shop = _shop(seed, users, items)
    written = [_write_interactions(landing, shop, day) for day in range(days)]
    return (*written, *_write_catalogues(landing, shop, days - 1))


def write_day(
    landing: Path, day: int, seed: int = 7, users: int = 2000, items: int = 800
) -> tuple[Path, ...]:
    """Write one day's export (day 0 is `START`) and refresh `items.csv` and `users.csv`."""
    shop = _shop(seed, users, items)
    return (_write_interactions(landing, shop, day), *_write_catalogues(landing, shop, day))


def requests(seed: int, day: int, users: int = 2000, items: int = 800) -> SampleRequests:
    """Who asks on `day`: one or two to be erased, and on every second day one who objects.

    Nobody asks twice. They have been shoppers since day 0; when a tenth of all has asked for
    erasure, and another tenth has objected, nobody asks any more.
    """
    shop = _shop(seed, users, items)

    def who(days: Ints) -> tuple[str, ...]:
        return tuple(shop.users[index] for index in np.flatnonzero(days == day).tolist())

    return SampleRequests(erase=who(shop.leaving), objecting=who(shop.objecting))


def _shop(seed: int, users: int, items: int) -> _Shop:
    draw = np.random.default_rng([seed, 0, users, items])
    category = draw.choice(len(CATEGORIES), items, p=_power_law(len(CATEGORIES), 0.5))
    other = draw.integers(len(CATEGORIES), size=items)
    second = np.where(draw.random(items) < TWO_CATEGORIES, other, -1)
    user_arrival = _arrivals(draw, users)
    item_arrival = _arrivals(draw, items)
    popularity = 0.85 * np.log(_power_law(items, 1.0) * items)
    draw.shuffle(popularity)
    leaving, objecting = _rights_days(draw, user_arrival)
    return _Shop(
        seed=seed,
        users=_ids("shopper", seed, users),
        items=tuple(f"sku-{index:05d}" for index in range(items)),
        user_arrival=user_arrival,
        item_arrival=item_arrival,
        activity=0.14 * draw.lognormal(-0.4, 0.9, users),
        taste=_tastes(draw, users),
        trait=_traits(draw, category, second),
        popularity=popularity,
        season=draw.integers(0, 365, items).astype(np.float64),
        price=np.exp(draw.normal(3.0, 0.8, items)),
        category=category,
        second=second,
        leaving=leaving,
        objecting=objecting,
    )


def _tastes(draw: np.random.Generator, users: int) -> Reals:
    """Liking of categories (a few each, log scale) and of latent traits; two points in time."""
    few = draw.dirichlet(np.full(len(CATEGORIES), 0.15), (2, users))
    latent = draw.normal(0.0, 0.8, (2, users, LATENT))
    first, later = np.concatenate([1.2 * np.log1p(40 * few), latent], axis=2)
    return np.stack([first, (first + later) / 2])


def _traits(draw: np.random.Generator, category: Ints, second: Ints) -> Reals:
    indicators = np.zeros((len(category), len(CATEGORIES)))
    indicators[np.arange(len(category)), category] = 1.0
    both = np.flatnonzero(second >= 0)
    indicators[both, second[both]] = 1.0
    return np.hstack([indicators, draw.normal(0.0, 0.9, (len(category), LATENT))])


def _arrivals(draw: np.random.Generator, count: int) -> Ints:
    """Seven in ten are there on day 0; the others come later, evenly."""
    arrival = np.where(draw.random(count) < FOUNDERS, 0, draw.integers(1, GROWTH_DAYS, count))
    arrival[0] = 0
    return arrival


def _rights_days(draw: np.random.Generator, arrival: Ints) -> tuple[Ints, Ints]:
    """The day each user asks for erasure, or objects; -1: never."""
    founders = draw.permutation(np.flatnonzero(arrival == 0))
    tenth = len(arrival) // 10
    leaving = np.full(len(arrival), -1, dtype=np.int64)
    objecting = leaving.copy()
    erase = founders[:tenth]
    leaving[erase] = 1 + 2 * np.arange(len(erase)) // 3  # two, one, two, one, ... a day
    objects = founders[tenth : 2 * tenth]
    objecting[objects] = 1 + 2 * np.arange(len(objects))
    return leaving, objecting


def _write_interactions(landing: Path, shop: _Shop, day: int) -> Path:
    draw = np.random.default_rng([shop.seed, 1, day, len(shop.users), len(shop.items)])
    weekend = (START + timedelta(days=day)).weekday() >= 5  # noqa: PLR2004
    here = (shop.user_arrival <= day) & ((shop.leaving < 0) | (day <= shop.leaving + LATE_DAYS))
    sessions = draw.poisson(shop.activity * (1.3 if weekend else 0.9)) * here
    user = np.repeat(np.arange(len(shop.users)), sessions)
    views = 1 + draw.geometric(0.4, len(user))
    item = _chosen(draw, shop, user, views, day)
    begin = np.rint(_hours(draw, len(user)) * SECONDS).astype(np.int64)
    session = np.repeat(np.arange(len(user)), views)
    step = np.arange(len(session)) - np.repeat(np.cumsum(views) - views, views)
    second = np.minimum(begin[session] + step * 45 + draw.integers(0, 40, len(step)), SECONDS - 90)
    midnight = int(datetime.combine(START + timedelta(days=day), time(), UTC).timestamp())
    events = sorted(
        _events(draw, shop, user[session], item, midnight + second), key=lambda row: row[2]
    )
    # an event sent twice keeps its id: the number of its first row
    number: dict[tuple[str, str, int, str, str], int] = {}
    rows = [(*event, f"{day}-{number.setdefault(event, len(number))}") for event in events]
    name = f"interactions-{START + timedelta(days=day)}.csv.gz"
    content = gzip.compress(_csv(INTERACTION_COLUMNS, rows), compresslevel=6, mtime=0)
    write_bytes(landing / name, content)
    return landing / name


def _chosen(draw: np.random.Generator, shop: _Shop, user: Ints, views: Ints, day: int) -> Ints:
    """The items viewed, session by session, each by a softmax of what its shopper likes today."""
    weight = min(day / 365, 1.0)
    taste = (1 - weight) * shop.taste[0, user] + weight * shop.taste[1, user]
    age = day - shop.item_arrival
    here = age >= 0
    today = (
        shop.popularity
        + 0.6 * np.cos(2 * np.pi * (day - shop.season) / 365)
        + np.where(shop.item_arrival > 0, 1.0 * np.exp(-np.maximum(age, 0) / 14), 0.0)
    )
    chance = np.exp(taste @ shop.trait.T + today) * here
    steps = np.cumsum(chance / chance.sum(axis=1, keepdims=True), axis=1)
    steps[:, -1] = 1.0
    # row r of the flattened table runs from r to r + 1: one search answers for all of them
    flat = (steps + np.arange(len(user))[:, None]).ravel()
    point = np.repeat(np.arange(len(user)), views) + draw.random(int(views.sum()))
    return np.searchsorted(flat, point, side="right") % len(shop.items)


def _events(
    draw: np.random.Generator, shop: _Shop, user: Ints, item: Ints, moment: Ints
) -> Iterator[tuple[str, str, int, str, str]]:
    """The rows of each view: itself, perhaps a second time, perhaps a cart and a purchase."""
    chance = draw.random((len(user), 4)) < (GUEST, TWICE, CART, PURCHASE)
    spent = shop.price[item] * draw.choice([1, 1, 1, 2, 3], len(user))
    columns = (user, item, moment, spent, chance)
    for who, what, when, money, (guest, twice, cart, purchase) in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        ids = ("" if guest else shop.users[who], shop.items[what])
        yield (*ids, when, "view", "")
        if twice:
            yield (*ids, when, "view", "")
        if cart:
            yield (*ids, when + 20, "cart", "")
        if cart and purchase:
            yield (*ids, when + 60, "purchase", f"{money:.2f}")


def _write_catalogues(landing: Path, shop: _Shop, day: int) -> tuple[Path, Path]:
    """`items.csv` and `users.csv` as they stand at the end of `day`."""
    band = np.digitize(shop.price, np.quantile(shop.price, [1 / 3, 2 / 3]))
    goods = []
    for index in np.flatnonzero(shop.item_arrival <= day).tolist():
        places = {shop.category[index], shop.second[index]} - {-1}
        categories = "|".join(sorted(CATEGORIES[place] for place in places))
        name = shop.items[index]
        goods.append((name, categories, _pick(name, shop.seed, BRANDS), BANDS[band[index]]))
    rank = np.digitize(shop.activity, np.quantile(shop.activity, [0.6, 0.9]))
    gone = (shop.leaving >= 0) & (day > shop.leaving + LATE_DAYS)
    people = []
    for index in np.flatnonzero((shop.user_arrival <= day) & ~gone).tolist():
        name = shop.users[index]
        people.append((name, _pick(name, shop.seed, COUNTRIES), SEGMENTS[rank[index]]))
    write_bytes(landing / "items.csv", _csv(("ITEM_ID", "CATEGORY", "BRAND", "PRICE_BAND"), goods))
    write_bytes(landing / "users.csv", _csv(("USER_ID", "COUNTRY", "SEGMENT"), people))
    return landing / "items.csv", landing / "users.csv"


def _hours(draw: np.random.Generator, count: int) -> Reals:
    """When in the day a session starts, 0 to 1: around noon and, more often, in the evening."""
    evening = draw.random(count) < EVENING
    hour = np.where(evening, draw.normal(20.0, 1.8, count), draw.normal(12.5, 2.5, count))
    return np.clip(hour, 0.0, 23.7) / 24


def _power_law(count: int, exponent: float) -> Reals:
    weights: Reals = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return weights / float(weights.sum())


def _pick(name: str, seed: int, choices: Sequence[str]) -> str:
    return choices[int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest(), 16) % len(choices)]


def _ids(kind: str, seed: int, count: int) -> tuple[str, ...]:
    """Ids that are long enough never to appear in a file by chance."""
    digests = (hashlib.sha256(f"{kind}/{seed}/{index}".encode()) for index in range(count))
    return tuple(f"{kind}-{digest.hexdigest()[:10]}" for digest in digests)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
