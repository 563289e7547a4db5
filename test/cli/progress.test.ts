// What is shown of trials while they run.
import { expect } from 'chai';
import { trialProgress } from '../../lib/cli/progress';

describe('progress of trials', () => {
  it('says nothing of the remaining time before it has seen a step go by', () => {
    let text = '';
    const { write } = process.stderr;
    process.stderr.write = (chunk: string) => {
      text += chunk;
      return true;
    };
    try {
      const progress = trialProgress();
      progress.take('a', 1, 1, 500, 2.5);
      progress.done();
    } finally {
      process.stderr.write = write;
    }
    expect(text).to.include('a, seed 1 1/500  loss 2.5').and.not.include('ETA');
  });
});
