"""What both HTTP clients of the screen share: they speak for many users, so they remember none."""

from http.cookiejar import CookieJar, DefaultCookiePolicy


def forgetful_jar() -> CookieJar:
    """Return a cookie jar that keeps nothing: one user's cookie must never travel with another."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))
