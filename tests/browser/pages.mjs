// Bundles the pages and serves them from memory, on a port of their own: to them the server is another origin.
import { createServer } from "node:http";
import { join } from "node:path";

import { build } from "esbuild";

const html = (page) => `<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script src="/${page}.js"></script>`;

// The pages' address. /legacy and /thread are the pages there are.
export async function serve() {
  const scripts = await bundle();
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, "http://page");
    const script = scripts.get(pathname);
    response.setHeader("content-type", script ? "text/javascript" : "text/html; charset=utf-8");
    response.end(script ?? html(pathname.slice(1)));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${server.address().port}`;
}

async function bundle() {
  const folder = join(import.meta.dirname, "pages");
  const { outputFiles } = await build({
    entryPoints: ["legacy", "thread"].map((page) => join(folder, `${page}.jsx`)),
    bundle: true,
    write: false,
    outdir: folder,
    format: "iife",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
  });
  return new Map(outputFiles.map(({ path, contents }) => [path.slice(folder.length), contents]));
}
