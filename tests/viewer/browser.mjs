// One browser for many checks: a JSON line in, a JSON line out. The system's Chromium, through playwright-core.
//   in:  {"url", "code", "options"?, "axe"?}   code: body of an async function of (page, context, axe)
//   out: {"result"} or {"failed"}, and {"errors", "requests", "dialogs", "pages"}: what the page did besides
import { execSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM || execSync("command -v chromium").toString().trim();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function check({ url, code, options = {} }) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    acceptDownloads: true,
    ...options,
  });
  context.setDefaultTimeout(20000);
  const out = { errors: [], requests: [], dialogs: [], pages: 0 };
  context.on("request", (request) => {
    if (request.url() !== url.split("#")[0] && !request.url().startsWith("blob:"))
      out.requests.push(request.url().slice(0, 200));
  });
  context.on("page", (page) => {
    out.pages++;
    page.on("pageerror", (error) => out.errors.push(String(error).slice(0, 500)));
    page.on("console", (message) => message.type() === "error" && out.errors.push(message.text().slice(0, 500)));
    page.on("dialog", (dialog) => (out.dialogs.push(dialog.message()), dialog.dismiss()));
  });
  const page = await context.newPage();
  // What is serious for those who cannot see, hear or point.
  const axe = async () => {
    await page.evaluate(axeSource + "; undefined");
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    return found.violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(
        ({ id, nodes }) =>
          `${id}: ${nodes
            .map((node) => node.target.join(" "))
            .slice(0, 5)
            .join(", ")}`,
      );
  };
  const AsyncFunction = (async () => {}).constructor;
  try {
    await page.goto(url, { waitUntil: "load" });
    out.result = (await new AsyncFunction("page", "context", "axe", code)(page, context, axe)) ?? null;
  } catch (error) {
    out.failed = String(error?.stack || error);
  }
  await context.close();
  return out;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await check(JSON.parse(line))));
}
await browser.close();
