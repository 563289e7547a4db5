// Threads of a server: how they let that of HTTP go first.
import { expect } from 'chai';
import path from 'node:path';
import { finish, start } from '../support/child';
import { LIBRARY } from '../support/library';

describe('threads', () => {
  it('give way from where they are, which asks for nothing that only root may do', async function () {
    if (process.platform !== 'linux') this.skip();
    const threads = path.join(path.dirname(LIBRARY), 'platform', `threads${path.extname(LIBRARY)}`);
    const source = `const os = require('node:os');
const { giveWay } = require(${JSON.stringify(threads)});
const seen = [7, 17].map((own) => { os.setPriority(own); giveWay(); return os.getPriority(); });
console.log(JSON.stringify(seen));`;
    const { stdout, stderr } = await finish(start(['--input-type=commonjs', '--eval', source]));
    expect(stdout, stderr).to.equal('[12,19]\n');
  });
});
