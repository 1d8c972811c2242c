"""The Python SPIFFE library at the Workload API: fetch, validate, and follow a rotation.

Under it is gRPC's own core, which names the server of a Unix socket by the socket's path. The first case
leaves it at that; the others say `localhost`, as every other client does.
"""

import grpc
from cases import carnet, case, expect, plan, refused, run, within
from cryptography.hazmat.primitives.asymmetric import ec
from spiffe import JwtSource, SpiffeId, TrustDomain, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError
from spiffe.svid.jwt_svid import JwtSvid

SOCKET = f"unix://{plan['workload']}"
DOMAIN = TrustDomain(plan["trust_domain"])
PLANNER = SpiffeId(plan["agents"]["planner"]["spiffe_id"])
AUDIENCE = {plan["issuer"]}


WITHIN_S = 20
by_path = grpc.insecure_channel


def by_name(target, options=None, compression=None):
    """A channel that names the server."""
    named = [*(options or []), ("grpc.default_authority", "localhost")]
    return by_path(target, named, compression)


def client():
    grpc.insecure_channel = by_name
    return WorkloadApiClient(socket_path=SOCKET, default_timeout=WITHIN_S)


def identities(svids):
    return {str(svid.spiffe_id) for svid in svids}


@case("it connects by itself, naming the server by the path of the socket")
def connects():
    grpc.insecure_channel = by_path
    with WorkloadApiClient(socket_path=SOCKET, default_timeout=WITHIN_S) as api:
        expect(api.fetch_jwt_svids(audience=AUDIENCE), "no SVID came")


@case("JWT-SVIDs for every agent this process is, and for one of them")
def jwt_svids():
    with client() as api:
        everyone = identities(api.fetch_jwt_svids(audience=AUDIENCE))
        local = {plan["agents"][name]["spiffe_id"] for name in plan["local"]}
        expect(everyone == local, f"{everyone} is not {local}")
        one = api.fetch_jwt_svid(audience=AUDIENCE, subject=PLANNER)
        expect(one.spiffe_id == PLANNER and one.audience == AUDIENCE, f"{one.spiffe_id}")


@case("a JWT-SVID validates with the keys of the trust domain, for its audience only")
def validated():
    with client() as api:
        token = api.fetch_jwt_svid(audience=AUDIENCE, subject=PLANNER).token
        bundle = api.fetch_jwt_bundles().get_bundle_for_trust_domain(DOMAIN)
        expect(JwtSvid.parse_and_validate(token, bundle, AUDIENCE).spiffe_id == PLANNER, "another")
        refused(
            lambda: JwtSvid.parse_and_validate(token, bundle, {"https://other.example"}),
            PySpiffeError, "it is for another audience",
        )
        expect(api.validate_jwt_svid(token, plan["issuer"]).spiffe_id == PLANNER, "another")


@case("a JWT-SVID that was changed is refused")
def changed():
    with client() as api:
        head, claims, signature = api.fetch_jwt_svid(audience=AUDIENCE, subject=PLANNER).token.split(".")
        other = ("A" if signature[0] != "A" else "B") + signature[1:]
        token = ".".join([head, claims, other])
        refused(lambda: api.validate_jwt_svid(token, plan["issuer"]), PySpiffeError, "it was changed")


@case("an audience nobody configured and an agent this process is not are refused")
def not_for_everybody():
    with client() as api:
        refused(
            lambda: api.fetch_jwt_svid(audience={"https://other.example"}, subject=PLANNER),
            PySpiffeError, "the audience is nobody's", "audience",
        )
        stranger = SpiffeId(f"spiffe://{plan['trust_domain']}/agent/stranger")
        refused(
            lambda: api.fetch_jwt_svid(audience=AUDIENCE, subject=stranger), PySpiffeError,
            "it is another agent", "no identity issued",
        )


@case("JwtSource follows the rotation of the keys, and old and new SVIDs validate")
def jwt_rotation():
    with JwtSource(client(), timeout_in_seconds=WITHIN_S) as source:
        keys = lambda: set(source.get_bundle_for_trust_domain(DOMAIN).jwt_authorities)
        known = keys()
        old = source.fetch_svid(audience=AUDIENCE, subject=PLANNER)
        carnet("keys", "rotate", "jwt-svid")
        within(20, lambda: keys() - known, "the new key")
        bundle = source.get_bundle_for_trust_domain(DOMAIN)
        new = source.fetch_svid(audience=AUDIENCE, subject=PLANNER)
        for svid in (old, new):
            JwtSvid.parse_and_validate(svid.token, bundle, AUDIENCE)


def check_chain(svid, bundle):
    """The leaf is signed by an authority of the bundle, and is for the key that came with it."""
    leaf = svid.leaf
    issuers = [one for one in bundle.x509_authorities if one.subject == leaf.issuer]
    expect(issuers, "the bundle does not have the issuer")
    for issuer in issuers:
        try:
            leaf.verify_directly_issued_by(issuer)
            break
        except Exception:  # noqa: BLE001: another authority of the same name
            continue
    else:
        raise AssertionError("no authority of the bundle signed the leaf")
    expect(isinstance(svid.private_key, ec.EllipticCurvePrivateKey), "no key of a curve")
    expect(svid.private_key.public_key() == leaf.public_key(), "the key is another one's")


@case("X.509-SVIDs for every agent this process is, signed by the trust domain")
def x509_svids():
    with client() as api:
        svids = api.fetch_x509_svids()
        local = {plan["agents"][name]["spiffe_id"] for name in plan["local"]}
        expect(identities(svids) == local, f"{identities(svids)} is not {local}")
        bundle = api.fetch_x509_bundles().get_bundle_for_trust_domain(DOMAIN)
        for svid in svids:
            check_chain(svid, bundle)


@case("X509Source follows the rotation of the authority")
def x509_rotation():
    with X509Source(client(), timeout_in_seconds=WITHIN_S) as source:
        first = source.svid
        known = len(source.get_bundle_for_trust_domain(DOMAIN).x509_authorities)
        carnet("keys", "rotate", "x509-svid")
        more = lambda: len(source.get_bundle_for_trust_domain(DOMAIN).x509_authorities) > known
        within(20, more, "the new authority")
        serial = first.leaf.serial_number
        within(20, lambda: source.svid.leaf.serial_number != serial, "a fresh SVID")
        check_chain(source.svid, source.get_bundle_for_trust_domain(DOMAIN))


run()
