// The line between the pages and the server, so that a test can cut it.
import { connect, createServer } from "node:net";

const open = new Set();

// Lays a line to a server; the URL of its near end.
export async function lay(url) {
  const { hostname, port } = new URL(url);
  const near = createServer((socket) => {
    const far = connect(port, hostname);
    for (const [one, other] of [[socket, far], [far, socket]]) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => open.delete(one) && other.destroy());
    }
  });
  await new Promise((listening) => near.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${near.address().port}`;
}

// Breaks every connection there is, without a word; new ones can be made at once.
export function cut() {
  for (const socket of open) socket.resetAndDestroy();
}
