"""All routes of the pages for people, in one router."""

from fastapi import APIRouter

from service.web import static_files
from service.web.pages import compare, docs, keys, new_study, sign_in, studies, study, trial, webhooks, workers

_PAGES = (studies, study, trial, compare, new_study, workers, webhooks, keys, sign_in, docs, static_files)
"""Modules with a router of pages, or of what pages load."""

router = APIRouter(include_in_schema=False)
for module in _PAGES:
    router.include_router(module.router)
