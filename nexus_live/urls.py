"""URLs of the live pages: ``path("live/", include("nexus_live.urls"))``."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from nexus_live.views import acting, feeding, pages, sharing

app_name = "nexus_live"
urlpatterns = [
    path("", pages.index, name="index"),
    path("login/", pages.LiveLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(next_page="nexus_live:login"), name="logout"),
    path("shared/<str:token>/", pages.shared_page, name="shared"),
    path("shared/<str:token>/events", feeding.events, name="shared-events"),
    path("shared/<str:token>/poll", feeding.poll, name="shared-poll"),
    path("<uuid:workflow_id>/", pages.workflow_page, name="page"),
    path("<uuid:workflow_id>/events", feeding.events, name="events"),
    path("<uuid:workflow_id>/poll", feeding.poll, name="poll"),
    path("<uuid:workflow_id>/say", acting.say, name="say"),
    path("<uuid:workflow_id>/approvals/<uuid:approval_id>", acting.answer, name="answer"),
    path("<uuid:workflow_id>/questions/<uuid:question_id>", acting.reply, name="reply"),
    path("<uuid:workflow_id>/links", sharing.add_link, name="add-link"),
    path("<uuid:workflow_id>/links/<uuid:link_id>/withdraw", sharing.remove_link, name="remove-link"),
    path("<uuid:workflow_id>/viewers", sharing.add_viewer, name="add-viewer"),
    path("<uuid:workflow_id>/viewers/<int:user_id>/remove", sharing.remove_viewer, name="remove-viewer"),
]
