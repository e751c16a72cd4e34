// aimock on a free port of the loopback, with our fixtures, until standard input ends. It tells on stdout, a JSON object
// a line: its address, then each request whose answer did not go out whole, by the id in aimock's own journal, and when.

import diagnostics from "node:diagnostics_channel";

import { LLMock } from "@copilotkit/aimock";

const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

diagnostics.subscribe("http.server.request.start", ({ response }) => {
  response.on("close", () => {
    if (!response.writableFinished) {
      tell({ unfinished: response.getHeader("x-request-id"), at: Number(process.hrtime.bigint()) / 1e9 });
    }
  });
});

const mock = new LLMock({ port: 0, logLevel: "silent" });
mock.loadFixtureFile(process.argv[2]);
await mock.start();
tell({ url: mock.url });

process.stdin.resume().on("end", () => process.exit());
