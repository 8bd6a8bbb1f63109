// Finds a Chromium: the one CHROMIUM_PATH names, `chromium` on the PATH, or the one the npm package brings.
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { constants } from "node:fs";
import { delimiter, join } from "node:path";

const CACHE = join(import.meta.dirname, "node_modules", ".cache");
const LIBRARIES = join(import.meta.dirname, "node_modules", "@sparticuz", "chromium", "bin", "al2023.tar.br");
const UNPACKED = join(CACHE, "chromium");

const exists = (path, mode = constants.F_OK) => access(path, mode).then(() => true, () => false);

// How to start it: { executablePath, env, libraries }, the last for a machine that has not all of its own.
export async function find() {
  const installed = process.env.CHROMIUM_PATH || (await onPath("chromium"));
  if (installed) return { executablePath: installed };
  if (!(await exists(UNPACKED))) await unpack();
  const env = { ...process.env, FONTCONFIG_FILE: join(import.meta.dirname, "fonts.conf") };
  return { executablePath: join(UNPACKED, "chromium"), env, libraries: join(UNPACKED, "al2023", "lib") };
}

async function onPath(name) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    if (await exists(path, constants.X_OK)) return path;
  }
}

// The package unpacks into the folder for temporary files, and takes whatever is there already for complete.
async function unpack() {
  const { default: chromium, inflate } = await import("@sparticuz/chromium");
  await mkdir(CACHE, { recursive: true });
  const folder = await mkdtemp(join(CACHE, "unpacking-"));
  process.env.TMPDIR = folder;
  await Promise.all([chromium.executablePath(), inflate(LIBRARIES)]);
  delete process.env.TMPDIR;
  await rename(folder, UNPACKED).catch(() => rm(folder, { recursive: true }));
}
