// Saves small random models with the logits that they give, for compare.py.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import * as fw from '../../lib';

async function main(root: string): Promise<void> {
  fw.manualSeed(3);
  const ids = Array.from({ length: 70 }, (_, t) => (t * t * 7 + 3 * t) % 97);
  const configurations = {
    llama: {
      model_type: 'llama',
      vocab_size: 97,
      hidden_size: 32,
      intermediate_size: 64,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
    },
    delta_net: {
      model_type: 'delta_net',
      vocab_size: 97,
      hidden_size: 32,
      intermediate_size: 48,
      num_hidden_layers: 2,
      num_heads: 2,
    },
  } as const;
  for (const [name, configuration] of Object.entries(configurations)) {
    const model = fw.AutoModelForCausalLM.fromConfig(configuration).eval();
    const folder = path.join(root, name);
    await model.savePretrained(folder);
    const { logits } = fw.noGrad(() => model.forward(fw.tensor([ids], { dtype: 'int32' })));
    writeFileSync(
      path.join(folder, 'logits.json'),
      JSON.stringify({ ids, shape: logits.shape, logits: [...(await logits.data())] }),
    );
    console.log(`${folder}: ${model.parameterCount} parameters`);
  }
}

main(process.argv[2] ?? 'peers').catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
