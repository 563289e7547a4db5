// Runs the programs of this folder against a server of a small model.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { smallModel } from '../server/folder';
import { ServerProcess } from '../support/serverProcess';

async function main(): Promise<void> {
  const model = await smallModel();
  const server = await ServerProcess.start(model.folder);
  try {
    for (const program of ['langchain.mjs', 'aiSdk.mjs']) {
      execFileSync(process.execPath, [path.join(__dirname, program), server.url], { stdio: 'inherit' });
    }
  } finally {
    await server.stop();
    model.remove();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
