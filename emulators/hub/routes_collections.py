"""Collections: made, changed, listed, and their members."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.hub.access import Call, endpoint, refusing_invalid
from emulators.hub.collections import Collection, Item, ItemType, Theme
from emulators.hub.errors import HubError, forbidden
from emulators.hub.listing import timestamp
from emulators.hub.names import Kind


class CreateRequest(BaseModel):
    """POST /api/collections."""

    title: str
    namespace: str | None = None
    description: str | None = None
    private: bool = False


class UpdateRequest(BaseModel):
    """PATCH /api/collections/SLUG."""

    title: str | None = None
    description: str | None = None
    private: bool | None = None
    theme: Theme | None = None
    position: int | None = None


class Named(BaseModel):
    """What becomes a member."""

    id: str
    type: ItemType


class ItemRequest(BaseModel):
    """POST /api/collections/SLUG/items."""

    item: Named
    note: str | None = None


class ItemUpdate(BaseModel):
    """PATCH /api/collections/SLUG/items/ID."""

    note: str | None = Field(default=None, max_length=500)
    position: int | None = Field(default=None, ge=0)


def describe(call: Call, collection: Collection) -> dict[str, Any]:
    """A collection as the client reads it; members that the visitor may not see are left out."""
    items = [_item(call, item, i) for i, item in enumerate(collection.items) if _visible(call, item)]
    return {
        "slug": collection.slug,
        "title": collection.title,
        "description": collection.description,
        "owner": {"name": collection.owner, "type": "user"},
        "items": items,
        "lastUpdated": timestamp(collection.updated_at),
        "position": 0,
        "private": collection.private,
        "theme": collection.theme,
        "upvotes": 0,
    }


def _item(call: Call, item: Item, position: int) -> dict[str, Any]:
    described: dict[str, Any] = {"_id": item.uid, "id": item.id, "type": item.type, "position": position}
    if item.type == "collection" and (found := call.hub.collections.find(item.id)):
        described["slug"] = found.slug
    return described | ({"note": {"text": item.note}} if item.note else {})


def _visible(call: Call, item: Item) -> bool:
    if item.type == "collection":
        found = call.hub.collections.find(item.id)
        return found is not None and _may_see(call, found)
    if item.type in ("paper", "bucket"):
        return True
    repo = call.hub.repos.named(item.id, Kind.parse(item.type))
    return repo is not None and call.hub.may_read(call.account, repo)


def _may_see(call: Call, collection: Collection) -> bool:
    return not collection.private or (call.account is not None and call.account.namespace(collection.owner))


def _found(call: Call, *, write: bool = False) -> Collection:
    found = call.hub.collections.find(f"{call.params['owner']}/{call.params['slug']}")
    if found is None or not _may_see(call, found):
        raise HubError(404, "Collection not found")
    if write and not call.writer().namespace(found.owner):
        raise forbidden("This collection is not yours")
    return found


def list_all(call: Call) -> Response:
    """GET /api/collections, of one owner or with one item."""
    query = call.request.query_params
    owners, items = query.getlist("owner"), query.getlist("item")
    found = [
        describe(call, one)
        for one in call.hub.collections.all()
        if _may_see(call, one)
        and (not owners or one.owner in owners)
        and (not items or any(f"{i.type}s/{i.id}" in items for i in one.items))
    ]
    return JSONResponse(found[:1000])


def create(call: Call) -> Response:
    """POST /api/collections."""
    asked, account = call.json(CreateRequest), call.writer()
    owner = asked.namespace or account.name
    if not account.namespace(owner):
        raise forbidden(f"You don't have the rights to create a collection for {owner[:100]}")
    with refusing_invalid():
        made = Collection.model_validate(asked.model_dump(exclude={"namespace"}) | {"owner": owner})
    call.hub.collections.save(made)
    return JSONResponse(describe(call, made))


def show(call: Call) -> Response:
    """GET /api/collections/SLUG."""
    return JSONResponse(describe(call, _found(call)))


def update(call: Call) -> Response:
    """PATCH /api/collections/SLUG."""
    found, given = (
        _found(call, write=True),
        call.json(UpdateRequest).model_dump(exclude_none=True, exclude={"position"}),
    )
    with refusing_invalid():
        changed = call.hub.collections.update(found, lambda now: Collection.model_validate(now.model_dump() | given))
    return JSONResponse({"success": True, "data": describe(call, changed)})


def delete(call: Call) -> Response:
    """DELETE /api/collections/SLUG."""
    call.hub.collections.delete(_found(call, write=True))
    return JSONResponse({"success": True})


def add(call: Call) -> Response:
    """POST items: what is added must exist, and not be there yet."""
    found, asked = _found(call, write=True), call.json(ItemRequest)
    with refusing_invalid():
        item = Item(id=asked.item.id, type=asked.item.type, note=asked.note)
    if not _visible(call, item):
        raise HubError(404, f"There is no {item.type} {item.id[:200]}")

    def change(now: Collection) -> Collection:
        if any((i.id, i.type) == (item.id, item.type) for i in now.items):
            raise HubError(409, f"{item.id} is in this collection already")
        return now.model_copy(update={"items": (*now.items, item)})

    return JSONResponse(describe(call, call.hub.collections.update(found, change)))


def update_item(call: Call) -> Response:
    """PATCH items/ID: another note, another place."""
    found, asked, uid = _found(call, write=True), call.json(ItemUpdate), call.params["item"]

    def change(now: Collection) -> Collection:
        old = _member(now, uid)
        item = old if asked.note is None else old.model_copy(update={"note": asked.note})
        others = [i for i in now.items if i.uid != uid]
        place = now.items.index(old) if asked.position is None else asked.position
        return now.model_copy(update={"items": (*others[:place], item, *others[place:])})

    call.hub.collections.update(found, change)
    return JSONResponse({"success": True})


def remove_item(call: Call) -> Response:
    """DELETE items/ID."""
    found, uid = _found(call, write=True), call.params["item"]

    def change(now: Collection) -> Collection:
        gone = _member(now, uid)
        return now.model_copy(update={"items": tuple(i for i in now.items if i != gone)})

    call.hub.collections.update(found, change)
    return JSONResponse({"success": True})


def _member(collection: Collection, uid: str) -> Item:
    for item in collection.items:
        if item.uid == uid:
            return item
    raise HubError(404, "This collection has no such item")


_ONE = "/api/collections/{owner:part}/{slug:part}"

ROUTES = [
    Route("/api/collections", endpoint(list_all)),
    Route("/api/collections", endpoint(create), methods=["POST"]),
    Route(_ONE, endpoint(show)),
    Route(_ONE, endpoint(update), methods=["PATCH"]),
    Route(_ONE, endpoint(delete), methods=["DELETE"]),
    Route(f"{_ONE}/items", endpoint(add), methods=["POST"]),
    Route(f"{_ONE}/items/{{item:part}}", endpoint(update_item), methods=["PATCH"]),
    Route(f"{_ONE}/items/{{item:part}}", endpoint(remove_item), methods=["DELETE"]),
]
