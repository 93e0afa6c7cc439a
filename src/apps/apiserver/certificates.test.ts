import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { test } from "node:test";
import { createAuthority, createServerCertificate } from "./certificates.ts";

const nowMs = Date.parse("2030-01-31T12:00:00Z");
const authority = createAuthority(nowMs);
const names = ["localhost", "127.0.0.1", "::1", "kubernetes.default.svc"];
const server = createServerCertificate(authority, names, nowMs);

test("OpenSSL takes the authority and the server's certificate, and the chain is right", () => {
  const ca = new X509Certificate(authority.certificate);
  const leaf = new X509Certificate(server.certificate);
  assert.ok(ca.ca);
  assert.ok(!leaf.ca);
  assert.ok(leaf.checkIssued(ca));
  assert.ok(leaf.verify(ca.publicKey));
  assert.ok(ca.verify(ca.publicKey));
  assert.ok(leaf.checkPrivateKey(createPrivateKey(server.key)));
  for (const name of ["localhost", "kubernetes.default.svc"]) assert.ok(leaf.checkHost(name));
  for (const address of ["127.0.0.1", "::1"]) assert.ok(leaf.checkIP(address));
  assert.equal(leaf.checkHost("example.com"), undefined);
  assert.deepEqual(leaf.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
});

test("names, times and serial numbers are written as RFC 5280 asks", () => {
  const ca = new X509Certificate(authority.certificate);
  const leaf = new X509Certificate(server.certificate);
  assert.equal(ca.subject, "CN=tsilium-apiserver-ca");
  assert.equal(leaf.issuer, ca.subject);
  assert.equal(
    leaf.subjectAltName,
    "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:kubernetes.default.svc",
  );
  assert.match(leaf.serialNumber, /^[4-7][0-9A-F]{31}$/);
  assert.equal(leaf.validFromDate.toISOString(), "2030-01-30T12:00:00.000Z");
  assert.equal(leaf.validToDate.toISOString(), "2031-01-31T12:00:00.000Z");
});

test("times beyond 2049 are written in the long form", () => {
  const late = new X509Certificate(createAuthority(Date.parse("2045-06-01T00:00:00Z")).certificate);
  assert.equal(late.validToDate.getUTCFullYear(), 2055);
});

test("two authorities have different keys and serial numbers", () => {
  const other = createAuthority(nowMs);
  assert.notEqual(other.key, authority.key);
  assert.notEqual(
    new X509Certificate(other.certificate).serialNumber,
    new X509Certificate(authority.certificate).serialNumber,
  );
});
