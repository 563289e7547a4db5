// `models`: what is listed is what can be made.
import { expect } from 'chai';
import { modelFamilies } from '../../lib/models';
import * as fw from '../../lib';
import { run } from './run';

describe('models', function () {
  this.timeout(60_000);

  it('lists every family with its sizes, and every rule', async () => {
    const { code, out } = await run('models', '--json');
    expect(code).to.equal(0);
    const { families, rules, ruleDescriptions, devices } = JSON.parse(out) as {
      families: { name: string; modelType: string; parameters: number; state: number | null }[];
      rules: string[];
      ruleDescriptions: Record<string, string>;
      devices: string[];
    };
    expect(families.map(({ name, modelType }) => [name, modelType])).to.eql(
      modelFamilies.map(({ name, modelType }) => [name, modelType]),
    );
    expect(rules).to.eql(fw.ruleNames());
    expect(Object.keys(ruleDescriptions).sort()).to.eql(rules);
    expect(ruleDescriptions.comba).to.match(/Hu et al. 2025/);
    expect(devices).to.include('js');
    const sizes = new Map(families.map((family) => [family.name, family]));
    using model = fw.createModel('deltanet', { vocabSize: 256, device: 'js' });
    expect(sizes.get('deltanet')!.parameters).to.equal(model.parameterCount);
    // Four layers, four heads of 64 x 64 and the last three inputs of three convolutions of 256.
    expect(sizes.get('deltanet')!.state).to.equal(4 * (4 * 64 * 64 + 3 * 3 * 256));
    expect(sizes.get('transformer')!.state).to.equal(null);
  });

  it('prints a line for each family and each rule', async () => {
    const { code, out } = await run('models');
    expect(code).to.equal(0);
    for (const { name, description } of modelFamilies)
      expect(out)
        .to.match(new RegExp(`^${name} `, 'm'))
        .and.include(description);
    for (const name of fw.ruleNames()) expect(out).to.match(new RegExp(`^${name} +\\S`, 'm'));
    expect(out).to.match(/^transformer +\S+ +cache /m);
  });
});
