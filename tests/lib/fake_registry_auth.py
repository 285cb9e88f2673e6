"""The fake registry's challenges and its token endpoint.

    "auth": {"kind": "basic", "users": {"u": "p"}}
    "auth": {"kind": "bearer", "users": {"u": "p"}, ...}     and of these, all optional:

    anonymous       true: everybody pulls (default: when there are no users)
    token_host      the host of this process that gives tokens (default: the registry's own)
    service         (default "fake")
    refresh         {"REFRESH_TOKEN": "u"}: grant_type=refresh_token
    get, post       status that the form is refused with, e.g. 405 for POST
    field           token, access_token, both (default)
    expires_in      seconds that tokens live and that the reply tells (default 300)
    silent          true: the reply does not tell
    token_requests  a token is good for so many requests
    token_bytes     ... until so many bytes of bodies were sent with it
    challenge       the header's value, literally
"""
import base64
import json
import secrets
import threading
import time
import urllib.parse


def basic_user(header, users):
    """The user whose password stands in an Authorization header, or None."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except ValueError:
        return None
    return user if users.get(user) == password else None


class Token:
    def __init__(self, user, scopes, auth):
        self.value = "T" + secrets.token_urlsafe(24)
        self.user = user
        self.scopes = scopes  # set of (repository, action)
        self.ends = time.monotonic() + auth.conf.get("expires_in", 300)
        self.requests = auth.conf.get("token_requests")
        self.bytes = auth.conf.get("token_bytes")


class Auth:
    """Of one host; conf None: everybody may."""

    def __init__(self, conf, name, address_of):
        self.conf = conf
        self.name = name
        self.address_of = address_of  # host name -> "http://127.0.0.1:PORT"
        self.lock = threading.Lock()
        self.tokens = {}

    def users(self):
        return self.conf.get("users", {})

    def may(self, user, action):
        if user is not None:
            return True
        return action == "pull" and self.conf.get("anonymous", not self.users())

    def challenge(self, repository, actions):
        if "challenge" in self.conf:
            return self.conf["challenge"]
        if self.conf["kind"] == "basic":
            return 'Basic realm="fake"'
        realm = self.address_of(self.conf.get("token_host", self.name))
        scope = ""
        if repository:
            scope = ',scope="repository:%s:%s"' % (repository, ",".join(actions))
        return 'Bearer realm="%s/token/%s",service="%s"%s' % (
            realm, self.name, self.conf.get("service", "fake"), scope)

    def check(self, headers, repository, actions):
        """None when the request may go on (with its token, or True), else False."""
        if self.conf is None:
            return True
        given = headers.get("authorization")
        if self.conf["kind"] == "basic":
            return basic_user(given, self.users()) is not None
        scheme, _, value = (given or "").partition(" ")
        with self.lock:
            t = self.tokens.get(value) if scheme.lower() == "bearer" else None
            if t is None or time.monotonic() > t.ends:
                return False
            if repository and not all((repository, a) in t.scopes for a in actions):
                return False
            if t.bytes is not None and t.bytes <= 0:
                return False
            if t.requests is not None:
                if t.requests <= 0:
                    return False
                t.requests -= 1
            return t

    def spend(self, token, n):
        if isinstance(token, Token) and token.bytes is not None:
            with self.lock:
                token.bytes -= n

    def revoke_all(self):
        with self.lock:
            self.tokens.clear()

    # The endpoint.

    def grant(self, method, query, form, authorization):
        """(status, JSON document) for a request to /token/<name>."""
        refused = self.conf.get("get" if method == "GET" else "post")
        if refused:
            return refused, {"errors": [{"code": "DENIED", "message": "refused form"}]}
        if method == "GET":
            user = basic_user(authorization, self.users())
            if user is None and authorization:
                return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]}
            asked = query
        else:
            user = self.user_of_form(form)
            if user is None:
                return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong grant"}]}
            asked = form
        scopes = set()
        for scope in " ".join(asked.get("scope", [])).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            if kind == "repository":
                scopes |= {(name, a) for a in actions.split(",") if self.may(user, a)}
        if user is None and not self.conf.get("anonymous", not self.users()):
            return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "log in"}]}
        return 200, self.reply(Token(user, scopes, self), method, asked)

    def user_of_form(self, form):
        def one(key):
            return form.get(key, [""])[0]
        if one("grant_type") == "password":
            user = one("username")
            return user if user and self.users().get(user) == one("password") else None
        if one("grant_type") == "refresh_token":
            return self.conf.get("refresh", {}).get(one("refresh_token"))
        return None

    def reply(self, token, method, asked):
        with self.lock:
            self.tokens[token.value] = token
        field = self.conf.get("field", "both")
        out = {f: token.value for f in ("token", "access_token") if field in (f, "both")}
        if not self.conf.get("silent"):
            out["expires_in"] = self.conf.get("expires_in", 300)
        offline = "offline" in asked.get("access_type", []) or "true" in asked.get(
            "offline_token", [])
        if offline and token.user is not None:
            refresh = "R" + secrets.token_urlsafe(12)
            self.conf.setdefault("refresh", {})[refresh] = token.user
            out["refresh_token"] = refresh
        return out


def parse_form(data):
    try:
        return urllib.parse.parse_qs(data.decode(), keep_blank_values=True)
    except UnicodeDecodeError:
        return {}


def render(document):
    return json.dumps(document).encode()
