// A sample of the crashes that test/crash/main.ts has many of.
import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { CrashSite, type Victim } from '../crash/site';
import { temporaryFolder } from '../io/folder';
import { hasRedis } from '../support/redis';
import { type SmallModel, smallModel } from './folder';

describe('server: crashes', function () {
  this.timeout(120_000);
  const inFolder = temporaryFolder();
  let model: SmallModel;
  before(async () => (model = await smallModel({ hiddenSize: 64, numLayers: 2 })));
  after(() => model.remove());

  /** Nothing acknowledged is lost, and all texts are those without the crash. */
  async function crash(victim: Victim): Promise<void> {
    mkdirSync(inFolder(victim));
    const site = await CrashSite.open(victim, model.folder, inFolder(victim));
    try {
      const { broken, recovery } = await site.crash(0.5);
      expect(broken).to.be.above(0);
      expect(recovery).to.be.above(0);
    } finally {
      await site.close();
    }
  }

  it('a server with a folder is killed under load', () => crash('server'));

  it('the Redis of two servers is killed under load', function () {
    if (!hasRedis) this.skip();
    return crash('redis');
  });
});
