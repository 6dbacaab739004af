"""The page of the API's description; what it is drawn by lies beside the other files of pages."""

from fastapi import APIRouter, Request, Response

from service.web.frame import PageDep

router = APIRouter()


@router.get("/docs")
async def get_page(page: PageDep, request: Request) -> Response:
    """Show every call of the API, and let people try it."""
    return page.render("docs.html", description=request.app.openapi_url)
