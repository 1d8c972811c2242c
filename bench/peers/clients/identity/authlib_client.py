"""Authlib against Carnet. The library makes no proofs of keys, so it stays on the read path with an
agent that may bear its tokens there.
"""

import json
import time

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from cases import case, expect, plan, refused, run
from joserfc.jwk import ECKey

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"
METHOD = "private_key_jwt"
found = {}
held = {}


class Assertion(PrivateKeyJWT):
    """The library's assertion, as the revised RFC 7523 has it: for the issuer, and short."""

    def __init__(self, kid):
        super().__init__(token_endpoint=plan["issuer"], headers={"kid": kid}, alg="ES256")

    def __call__(self, auth, method, uri, headers, body):
        # The library would use one `jti` again and again.
        self.claims = {"exp": int(time.time()) + 60}
        return super().__call__(auth, method, uri, headers, body)


def session(agent, key_of=None):
    known = plan["agents"][agent]
    own = plan["agents"][key_of or agent]
    client = OAuth2Session(
        known["client_id"], ECKey.import_key(own["pem"]), token_endpoint_auth_method=METHOD,
        revocation_endpoint_auth_method=METHOD,
    )
    client.verify = plan["ca"]
    client.register_client_auth_method(Assertion(own["jwk"]["kid"]))
    return client


def call(token):
    headers = {**plan["call"]["headers"], "authorization": f"Bearer {token['access_token']}"}
    answer = requests.post(
        plan["read"], data=json.dumps(plan["call"]["body"]), headers=headers, verify=plan["ca"],
        timeout=30,
    )
    return answer.status_code


@case("authorization server metadata is valid (RFC 8414)")
def metadata():
    url = get_well_known_url(plan["issuer"], external=True)
    answer = requests.get(url, verify=plan["ca"], timeout=30)
    found.update(answer.json())
    AuthorizationServerMetadata(found).validate()
    expect(found["issuer"] == plan["issuer"], found["issuer"])


@case("client credentials by private_key_jwt, and the resource is open")
def credentials():
    held["token"] = session("bearer").fetch_token(
        found["token_endpoint"], grant_type="client_credentials", resource=plan["read"]
    )
    expect(held["token"]["token_type"] == "Bearer", held["token"]["token_type"])
    expect(call(held["token"]) == 200, "the gateway did not take the token")


@case("client credentials with another client's key are refused")
def another_key():
    client = session("bearer", key_of="closer")
    refused(
        lambda: client.fetch_token(
            found["token_endpoint"], grant_type="client_credentials", resource=plan["read"]
        ),
        OAuthError,
        "the key is another client's",
    )


@case("a token that is to write is refused without a proof of a key")
def unbound():
    refused(
        lambda: session("bearer").fetch_token(
            found["token_endpoint"], grant_type="client_credentials", resource=plan["write"]
        ),
        OAuthError,
        "nothing bound it",
    )


@case("token exchange of a token that is bound to no key is refused, and opens nothing")
def exchange():
    allow = [{"action": f"fixture.tool.{plan['tool']}", "path": "read"}]
    details = [{"type": "carnet_delegation", "intent": {"purpose": plan["purpose"], "allow": allow}}]
    refused(
        lambda: session("bearer").fetch_token(
            found["token_endpoint"],
            grant_type=EXCHANGE,
            subject_token=held["token"]["access_token"],
            subject_token_type=f"{TYPE}access_token",
            audience=plan["agents"]["closer"]["spiffe_id"],
            authorization_details=json.dumps(details),
        ),
        OAuthError,
        "no key was proven",
    )


@case("introspection")
def introspection():
    answer = session("bearer").introspect_token(
        found["introspection_endpoint"], token=held["token"]["access_token"]
    )
    said = answer.json()
    expect(said.get("active") is True and said.get("aud") == plan["read"], said)


@case("introspection of what never was says no more than that")
def introspection_of_nothing():
    answer = session("bearer").introspect_token(found["introspection_endpoint"], token="never.was.one")
    expect(answer.json() == {"active": False}, answer.json())


@case("revocation, and the resource is closed")
def revocation():
    answer = session("bearer").revoke_token(
        found["revocation_endpoint"], token=held["token"]["access_token"]
    )
    expect(answer.status_code == 200, answer.text)
    expect(call(held["token"]) == 401, "the gateway still takes the token")


run()
