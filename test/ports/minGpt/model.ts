// The GPT of karpathy/minGPT (mingpt/model.py, MIT licence), statement for statement; names are the original's, so that
// its checkpoints load.
import * as fw from '../../../lib';
import { nn, type Tensor } from '../../../lib';

export interface GptConfig {
  nLayer: number;
  nHead: number;
  nEmbd: number;
  vocabSize: number;
  blockSize: number;
  embdPdrop: number;
  residPdrop: number;
  attnPdrop: number;
}

export interface OptimizerConfig {
  learningRate: number;
  betas: readonly [number, number];
  weightDecay: number;
}

class NewGELU extends nn.Module {
  forward(x: Tensor): Tensor {
    return x.mul(0.5).mul(
      x
        .pow(3)
        .mul(0.044715)
        .add(x)
        .mul(Math.sqrt(2 / Math.PI))
        .tanh()
        .add(1),
    );
  }
}

class CausalSelfAttention extends nn.Module {
  // key, query, value projections for all heads, but in a batch
  c_attn: nn.Linear;
  // output projection
  c_proj: nn.Linear;
  // regularization
  attnDropout: nn.Dropout;
  residDropout: nn.Dropout;
  // causal mask to ensure that attention is only applied to the left in the input sequence
  bias: Tensor;

  constructor(readonly config: GptConfig) {
    super();
    const { nEmbd, blockSize } = config;
    this.c_attn = new nn.Linear(nEmbd, 3 * nEmbd);
    this.c_proj = new nn.Linear(nEmbd, nEmbd);
    this.attnDropout = new nn.Dropout(config.attnPdrop);
    this.residDropout = new nn.Dropout(config.residPdrop);
    const mask = fw.ones([blockSize, blockSize]).tril().reshape(1, 1, blockSize, blockSize);
    this.bias = this.registerBuffer('bias', mask, { persistent: false });
  }

  forward(x: Tensor): Tensor {
    const [B, T, C] = x.shape; // batch size, sequence length, embedding dimensionality (nEmbd)
    const { nHead } = this.config;

    // calculate query, key, values for all heads in batch and move head forward to be the batch dim
    let [q, k, v] = fw.split(this.c_attn.forward(x), [C, C, C], 2);
    k = k.reshape(B, T, nHead, C / nHead).transpose(1, 2); // (B, nh, T, hs)
    q = q.reshape(B, T, nHead, C / nHead).transpose(1, 2); // (B, nh, T, hs)
    v = v.reshape(B, T, nHead, C / nHead).transpose(1, 2); // (B, nh, T, hs)

    // causal self-attention; Self-attend: (B, nh, T, hs) x (B, nh, hs, T) -> (B, nh, T, T)
    let att = q.matmul(k.transpose(-2, -1)).mul(1 / Math.sqrt(k.shape[3]));
    att = att.maskedFill(this.bias.index(null, null, [0, T], [0, T]).eq(0), -Infinity);
    att = att.softmax(-1);
    att = this.attnDropout.forward(att);
    let y = att.matmul(v); // (B, nh, T, T) x (B, nh, T, hs) -> (B, nh, T, hs)
    y = y.transpose(1, 2).contiguous().reshape(B, T, C); // re-assemble all head outputs side by side

    // output projection
    y = this.residDropout.forward(this.c_proj.forward(y));
    return y;
  }
}

class Block extends nn.Module {
  ln_1: nn.LayerNorm;
  attn: CausalSelfAttention;
  ln_2: nn.LayerNorm;
  mlp: { c_fc: nn.Linear; c_proj: nn.Linear; act: NewGELU; dropout: nn.Dropout };

  constructor(config: GptConfig) {
    super();
    const { nEmbd } = config;
    this.ln_1 = new nn.LayerNorm(nEmbd);
    this.attn = new CausalSelfAttention(config);
    this.ln_2 = new nn.LayerNorm(nEmbd);
    this.mlp = {
      c_fc: new nn.Linear(nEmbd, 4 * nEmbd),
      c_proj: new nn.Linear(4 * nEmbd, nEmbd),
      act: new NewGELU(),
      dropout: new nn.Dropout(config.residPdrop),
    };
  }

  private mlpf(x: Tensor): Tensor {
    const m = this.mlp;
    return m.dropout.forward(m.c_proj.forward(m.act.forward(m.c_fc.forward(x)))); // MLP forward
  }

  forward(x: Tensor): Tensor {
    x = x.add(this.attn.forward(this.ln_1.forward(x)));
    x = x.add(this.mlpf(this.ln_2.forward(x)));
    return x;
  }
}

export class GPT extends nn.Module {
  readonly blockSize: number;
  transformer: { wte: nn.Embedding; wpe: nn.Embedding; drop: nn.Dropout; h: Block[]; ln_f: nn.LayerNorm };
  lm_head: nn.Linear;

  constructor(config: GptConfig) {
    super();
    const { vocabSize, blockSize, nEmbd, nLayer } = config;
    this.blockSize = blockSize;

    this.transformer = {
      wte: new nn.Embedding(vocabSize, nEmbd),
      wpe: new nn.Embedding(blockSize, nEmbd),
      drop: new nn.Dropout(config.embdPdrop),
      h: Array.from({ length: nLayer }, () => new Block(config)),
      ln_f: new nn.LayerNorm(nEmbd),
    };
    this.lm_head = new nn.Linear(nEmbd, vocabSize, { bias: false });

    // init all weights, and apply a special scaled init to the residual projections, per GPT-2 paper
    for (const [, module] of this.namedModules()) this.initWeights(module);
    for (const [pn, p] of this.namedParameters()) {
      if (pn.endsWith('c_proj.weight')) nn.init.normal_(p, 0, 0.02 / Math.sqrt(2 * nLayer));
    }
  }

  private initWeights(module: nn.Module): void {
    if (module instanceof nn.Linear) {
      nn.init.normal_(module.weight, 0, 0.02);
      if (module.bias !== null) nn.init.zeros_(module.bias);
    } else if (module instanceof nn.Embedding) {
      nn.init.normal_(module.weight, 0, 0.02);
    } else if (module instanceof nn.LayerNorm) {
      nn.init.zeros_(module.bias!);
      nn.init.ones_(module.weight);
    }
  }

  configureOptimizers(trainConfig: OptimizerConfig): fw.optim.AdamW {
    // separate out all parameters to those that will and won't experience regularizing weight decay
    const decay = new Map<string, Tensor>();
    const noDecay = new Map<string, Tensor>();
    for (const [mn, m] of this.namedModules()) {
      for (const [pn, p] of Object.entries(m).filter((e): e is [string, Tensor] => e[1] instanceof fw.Tensor)) {
        const fpn = mn ? `${mn}.${pn}` : pn; // full param name
        // all biases, and the weights of norms and embeddings, will not be decayed
        if (pn === 'weight' && m instanceof nn.Linear) decay.set(fpn, p);
        else if (p.requiresGrad) noDecay.set(fpn, p);
      }
    }
    const optimGroups = [
      { params: [...decay], weightDecay: trainConfig.weightDecay },
      { params: [...noDecay], weightDecay: 0 },
    ];
    return new fw.optim.AdamW(optimGroups, { lr: trainConfig.learningRate, betas: trainConfig.betas });
  }

  forward(idx: Tensor, targets?: Tensor): { logits: Tensor; loss?: Tensor } {
    const { device } = idx;
    const [, t] = idx.shape;
    if (t > this.blockSize)
      throw new Error(`Cannot forward sequence of length ${t}, block size is only ${this.blockSize}`);
    const pos = fw.arange(0, t, 1, { dtype: 'int32', device }).unsqueeze(0); // shape (1, t)

    // forward the GPT model itself
    const tokEmb = this.transformer.wte.forward(idx); // token embeddings of shape (b, t, nEmbd)
    const posEmb = this.transformer.wpe.forward(pos); // position embeddings of shape (1, t, nEmbd)
    let x = this.transformer.drop.forward(tokEmb.add(posEmb));
    for (const block of this.transformer.h) x = block.forward(x);
    x = this.transformer.ln_f.forward(x);
    const logits = this.lm_head.forward(x);

    // if we are given some desired targets also calculate the loss
    if (!targets) return { logits };
    const loss = fw.crossEntropy(logits.reshape(-1, logits.shape[2]), targets.reshape(-1), { ignoreIndex: -1 });
    return { logits, loss };
  }

  /**
   * Take a conditioning sequence of indices idx (int32 of shape (b, t)) and complete the sequence maxNewTokens times,
   * feeding the predictions back into the model each time.
   */
  generate(
    idx: Tensor,
    maxNewTokens: number,
    { temperature = 1, doSample = false, topK }: { temperature?: number; doSample?: boolean; topK?: number } = {},
  ): Tensor {
    return fw.noGrad(() =>
      fw.scope(() => {
        for (let i = 0; i < maxNewTokens; i++) {
          // if the sequence context is growing too long we must crop it at blockSize
          const idxCond = idx.shape[1] <= this.blockSize ? idx : idx.slice(1, -this.blockSize);
          // forward the model to get the logits for the index in the sequence
          let { logits } = this.forward(idxCond);
          // pluck the logits at the final step and scale by desired temperature
          logits = logits.select(1, -1).div(temperature);
          // optionally crop the logits to only the top k options
          if (topK !== undefined) {
            const { values: v } = logits.topk(topK);
            logits = logits.maskedFill(logits.lt(v.narrow(1, topK - 1, 1)), -Infinity);
          }
          // apply softmax to convert logits to (normalized) probabilities
          const probs = logits.softmax(-1);
          // either sample from the distribution or take the most likely element
          const idxNext = doSample ? fw.multinomial(probs, 1) : probs.topk(1).indices;
          // append sampled index to the running sequence and continue
          idx = fw.cat([idx, idxNext], 1);
        }
        return idx;
      }),
    );
  }
}
