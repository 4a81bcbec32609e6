"""Django's tasks on Nexus: ``NexusBackend``, for ``django_tasks`` (Django 5.2) and ``django.tasks`` (6.x)."""
