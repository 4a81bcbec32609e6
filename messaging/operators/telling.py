"""What the admin's forms say when they were saved: what was changed, from what to what, and when that counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.db.models import Manager, Model, QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from django import forms
    from django.contrib import admin

    FormPage = admin.ModelAdmin[Any]
else:
    FormPage = object  # a project may have no admin; who mixes it in has one

MAX_VALUE = 60
"""Characters of a value; longer ones, and those of several lines, are only named."""
MAX_TOLD = 12
"""Changes of one form."""


class TellingAdmin(FormPage):
    """Stands before ``ModelAdmin``: its forms say what they did, not only that it was a success."""

    takes_effect = ""
    """When what was saved counts, as a sentence."""

    @property
    def media(self) -> Media:
        """Also what gives each field of a form a name."""
        return super().media + Media(css={"all": ["nexus/admin.css"]}, js=["nexus/labels.js"])

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """As Django does it; the words for the message are found here, where both values are known."""
        if not add:
            _remember(request, "changes", _changes(form, formsets or ()))
        return super().construct_change_message(request, form, formsets, add)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """As Django does it, in our words."""
        _remember(request, "told", self._sentence("Added", obj))
        return super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """As Django does it, in our words."""
        changes = getattr(request, "nexus_changes", [])
        more = f"; and {len(changes) - MAX_TOLD} more" if len(changes) > MAX_TOLD else ""
        told = self._sentence("Changed", obj, f": {'; '.join(changes[:MAX_TOLD])}{more}") if changes else ""
        _remember(request, "told", told or f"Nothing was changed: {self._name(obj)} is as it was.")
        return super().response_change(request, obj)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: Any) -> HttpResponse:
        """As Django does it, in our words."""
        _remember(request, "told", self._sentence("Deleted", obj_display))
        return super().response_delete(request, obj_display, obj_id)

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """Say it, or what is to be said instead of it."""
        told = getattr(request, "nexus_told", "")
        _remember(request, "told", "")
        super().message_user(request, told or message, *args, **kwargs)

    def _name(self, obj: Any) -> str:
        return f"{self.opts.verbose_name} “{obj}”"

    def _sentence(self, verb: str, obj: Any, what: str = "") -> str:
        return f"{verb} the {self._name(obj)}{what}. {self.takes_effect}".strip()


def _remember(request: HttpRequest, name: str, value: Any) -> None:
    setattr(request, f"nexus_{name}", value)


def _changes(form: forms.BaseForm, formsets: Iterable[Any]) -> list[str]:
    """What a form and those below it change, in words."""
    found = [_change(form, name) for name in form.changed_data if name in form.fields]
    for formset in formsets:
        found += [f"added {_kind(row)} “{row}”" for row in formset.new_objects]
        found += [f"{_kind(row)} “{row}”: {', '.join(names)}" for row, names in formset.changed_objects]
        found += [f"removed {_kind(row)} “{row}”" for row in formset.deleted_objects]
    return found


def _kind(row: Model) -> str:
    return str(row._meta.verbose_name)


def _change(form: forms.BaseForm, name: str) -> str:
    label = str(form.fields[name].label or name.replace("_", " ")).lower()
    before, after = (_shown(value) for value in (form.get_initial_for_field(form.fields[name], name), _new(form, name)))
    if before is None or after is None:
        return label
    return f"{label} from {before} to {after}"


def _new(form: forms.BaseForm, name: str) -> Any:
    return form.cleaned_data.get(name)


def _shown(value: Any) -> str | None:
    """A short value, or None for one that is too long to be told."""
    value = value() if callable(value) and not isinstance(value, Manager) else value
    if isinstance(value, list | tuple | set | QuerySet):
        value = ", ".join(sorted(str(getattr(one, "pk", one)) for one in value))
    elif isinstance(value, Model):
        value = value.pk
    text = "" if value is None else str(value)
    if len(text) > MAX_VALUE or "\n" in text:
        return None
    return f"“{text}”" if text else "nothing"
