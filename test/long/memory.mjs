// Resident memory of a tiny training run after step 1,000 and after step 10,000 must agree within 2 %.
import * as fw from 'fast-weights';

const [FIRST, LAST] = [1000, 10_000];

function step(model, optimizer, seed) {
  fw.scope(() => {
    const ids = fw.tensor(
      Int32Array.from({ length: 4 * 32 }, (_, i) => (i * i + seed * 31 + i * seed) % 32),
      { shape: [4, 32], dtype: 'int32' },
    );
    const { loss } = model.forward(ids, { labels: ids });
    loss.backward();
    const { factor } = fw.optim.clipFactor(model.parameters(), 1);
    optimizer.step(factor);
    model.zeroGrad();
  });
}

async function main() {
  fw.setChecks(false);
  const model = fw.createModel('deltanet', {
    vocabSize: 32,
    hiddenSize: 32,
    numLayers: 1,
    numHeads: 1,
    intermediateSize: 64,
  });
  const optimizer = new fw.optim.AdamW(model.namedParameters());
  const resident = async () => {
    let least = Infinity;
    for (let i = 0; i < 5; i++) {
      await model.parameters()[0].data();
      global.gc?.();
      least = Math.min(least, process.memoryUsage().rss);
    }
    return least;
  };
  let first = 0;
  for (let i = 1; i <= LAST; i++) {
    step(model, optimizer, i);
    if (i % 10 === 0) await model.parameters()[0].data();
    if (i === FIRST) first = await resident();
    if (i % 1000 === 0)
      console.log(
        `step ${i}: ${((await resident()) / 2 ** 20).toFixed(1)} MiB, ${fw
          .memory()
          .devices.map((d) => `${d.device} ${d.storages}`)
          .join(', ')}`,
      );
  }
  const growth = (await resident()) / first - 1;
  console.log(`growth from step ${FIRST} to ${LAST}: ${(100 * growth).toFixed(2)} %`);
  process.exitCode = Math.abs(growth) <= 0.02 ? 0 : 1;
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
