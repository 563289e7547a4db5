// The quick forms of experiments: what they claim holds.
import { expect } from 'chai';
import { setChecks } from '../../lib';
import { EXPERIMENTS, runExperiment } from '../../lib/experiments';
import { withFolder } from '../train/support';

describe('the quick form of an experiment bears out its claims:', function () {
  this.timeout(300_000);
  // As users run them: the search for values that are not finite takes most of the time of small operators.
  before(() => setChecks(false));
  after(() => setChecks('values'));

  for (const experiment of EXPERIMENTS) {
    it(experiment.name, () =>
      withFolder(async (folder) => {
        const { claims, results } = await runExperiment(experiment, { folder, quick: true });
        expect(results.map(({ trial }) => trial)).to.eql(experiment.trials(true));
        expect(claims).not.to.be.empty;
        for (const { text, holds, because } of claims) expect(holds, `${text}: ${because}`).to.equal(true);
      }),
    );
  }
});
