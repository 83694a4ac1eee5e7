/** What each field of the configuration means, in a clause, for the command line and for pages. */

/** Fields that a run may change, under their official names. */
export const FIELD_HELP = {
  arch: "networks: hrm, trm (one network for both levels), trm_singlez and l_only (one latent), transformer (no recursion)",
  hidden_size: "width of the model",
  num_heads: "attention heads; a divisor of hidden_size",
  expansion: "SwiGLU inner size, as a multiple of hidden_size before the factor 2/3",
  swiglu_multiple: "the SwiGLU inner size is rounded up to a multiple of this",
  H_cycles: "updates of the H module in a segment",
  L_cycles: "updates of the L module for each of the H module",
  bp_steps: "updates at the end of a segment that carry gradient",
  H_layers: "blocks in the H module",
  L_layers: "blocks in the L module",
  mlp_t: "mix positions by a SwiGLU along the sequence instead of attention",
  pos_encodings:
    "positions: rotary, learned, rotary by row and column, rotary by row, column and Sudoku box, or none",
  pos_init_scale: "learned positions start with this times their official standard deviation",
  rope_theta: "base of the rotary angles",
  rope_frequency: "rope, rope2d: angle of the fastest pair from one position to the next",
  rms_norm_eps: "added to the mean square in RMSNorm",
  causal: "attend to earlier cells only",
  puzzle_emb_ndim: "width of the puzzle embedding, 0 for none",
  puzzle_emb_len: "prefix positions of the puzzle embedding, 0 for as few as it needs",
  num_puzzle_identifiers: "rows of the puzzle embedding",
  halt_max_steps: "ACT segments at most",
  inference_segments: "ACT segments in evaluation and solving, 0 for halt_max_steps",
  keep_best_answer: "answer with the segment of the highest q_halt instead of the last one",
  halt_exploration_prob: "share of rows that must think for a random number of segments",
  halt_only: "halt on q_halt > 0: no q_continue, no second forward",
  carry_latents: "a puzzle goes on from its latents in its next segment; no to start every segment anew",
  loss_type: "loss of a cell",
  lr_schedule: "how the learning rate falls after the warm-up",
  lr_warmup_steps: "steps over which the learning rate rises",
  lr_min_ratio: "learning rate at the end, as a fraction of the peak",
  lr_decay_start: "linear: the fraction of the plan after which it falls",
  weight_decay: "weight decay of Adam-atan2",
  beta1: "decay of the first moment",
  beta2: "decay of the second moment",
  puzzle_emb_lr: "learning rate of the puzzle embedding",
  puzzle_emb_weight_decay: "weight decay of the puzzle embedding",
  ema_decay: "decay of the moving average of the weights, 0 for none",
  ema_warmup: "raise the average's decay from 2/11 at the first step; no for TRM's constant decay",
  staggered_starts: "rows of the first batch start at different segments, so that batches mix depths",
  augment: "train on random symmetric images of the puzzles",
} as const;

/** The values of fields that have a few. */
export const FIELD_CHOICES = {
  arch: ["hrm", "trm", "trm_singlez", "l_only", "transformer"],
  pos_encodings: ["rope", "learned", "rope2d", "rope2d_boxes", "none"],
  loss_type: ["stablemax_cross_entropy", "softmax_cross_entropy"],
  lr_schedule: ["cosine", "linear"],
} as const;
