"""The Python SDK's own providers of tokens, up to a call of a tool."""

import asyncio
import ssl
import time

import httpx2
import jwt
from cases import case, described, expect, plan, run
from mcp import Client
from mcp.client.auth.extensions.client_credentials import (
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.streamable_http import streamable_http_client

AGENT = plan["agents"]["bearer"]
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Memory:
    """Keeps tokens for one run."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def signed(pem):
    signing = SignedJWTParameters(
        issuer=AGENT["client_id"], subject=AGENT["client_id"], signing_key=pem,
        signing_algorithm="ES256",
    )
    return signing.create_assertion_provider()


def by_key(pem):
    return PrivateKeyJWTOAuthProvider(
        server_url=plan["read"], storage=Memory(), client_id=AGENT["client_id"],
        assertion_provider=signed(pem), issuer=plan["issuer"],
    )


class WithoutSecret(IdentityAssertionOAuthProvider):
    """The SDK's provider authenticates with a secret, and no client has one here: everything is its
    own but the one member of the form that says who the client is.
    """

    def _build_token_request(self, scope, assertion):
        request = super()._build_token_request(scope, assertion)
        form = dict(httpx2.QueryParams(request.content.decode()))
        del form["client_secret"]
        now = int(time.time())
        claims = {
            "iss": AGENT["client_id"], "sub": AGENT["client_id"], "aud": plan["issuer"],
            "iat": now, "exp": now + 60, "jti": f"py-{time.time_ns()}",
        }
        form["client_assertion"] = jwt.encode(claims, AGENT["pem"], algorithm="ES256")
        form["client_assertion_type"] = ASSERTION
        return httpx2.Request("POST", request.url, data=form)


def id_jag(audience, resource):
    """An assertion under the identity provider's key, as that gives them to the TypeScript client."""
    now = int(time.time())
    provider = plan["provider"]
    claims = {
        "iss": provider["issuer"], "sub": provider["subject"], "aud": audience,
        "client_id": AGENT["client_id"], "resource": resource, "iat": now, "exp": now + 120,
        "jti": f"jag-{time.time_ns()}",
    }
    headers = {"typ": "oauth-id-jag+jwt", "kid": provider["jwk"]["kid"]}
    return jwt.encode(claims, provider["pem"], algorithm="ES256", headers=headers)


def across_apps(audience=None):
    async def fetch(issuer, resource):
        return id_jag(audience or issuer, resource)

    return WithoutSecret(
        server_url=plan["read"], storage=Memory(), client_id=AGENT["client_id"],
        client_secret="not sent", issuer=plan["issuer"], assertion_provider=fetch,
    )


def calls(auth):
    async def look():
        context = ssl.create_default_context(cafile=plan["ca"])
        http = httpx2.AsyncClient(auth=auth, verify=context, timeout=30)
        async with Client(streamable_http_client(plan["read"], http_client=http)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            expect(plan["tool"] in names, f"the tool is not listed: {names}")
            result = await client.call_tool(plan["tool"], {})
            expect(not result.is_error, str(result))

    asyncio.run(look())


def must_fail(auth, words, what):
    try:
        calls(auth)
    except BaseException as error:  # noqa: BLE001: whatever it is, it is the outcome
        said = described(error)
        if any(word in said for word in words):
            return
        raise
    raise AssertionError(f"{what}, and it was not refused")


@case("PrivateKeyJWTOAuthProvider: a tool is called")
def private_key():
    calls(by_key(AGENT["pem"]))


@case("PrivateKeyJWTOAuthProvider: with a key nobody registered it is refused")
def another_key():
    must_fail(by_key(plan["agents"]["closer"]["pem"]), ["invalid_client"], "the key is another's")


@case("IdentityAssertionOAuthProvider: a tool is called on behalf of a person")
def identity_assertion():
    calls(across_apps())


@case("IdentityAssertionOAuthProvider: an assertion for another server is refused")
def for_another():
    must_fail(across_apps("https://other.example"), ["invalid_grant"], "it is for another server")


run()
