/** The same expectations in code, for any test runner; here node:test. */
import { resolve } from "node:path";
import { test } from "node:test";
import { expect, loadPolicies } from "tsilium/policy/testing";

const shop = resolve(import.meta.dirname, "..");
const policies = await loadPolicies([`${shop}/workloads.yaml`, `${shop}/policies.yaml`]);
const inShop = expect(policies).inNamespace("shop");

test("the frontend reads items", () => {
  inShop.from({ app: "frontend" }).to({ app: "backend" }).on("9000/tcp").http("GET", "/items/7").isAllowed();
});

test("nobody but the backend reads the database", () => {
  for (const app of ["frontend", "report"]) inShop.from({ app }).to({ app: "db" }).on("5432/tcp").isDeniedBy("shop/db");
  inShop.from({ app: "backend" }).to({ app: "db" }).on("postgres").isAllowedBy("db");
});
