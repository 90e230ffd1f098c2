#!/usr/bin/env bash
# Train and release every network of this folder: bash models/train_all.sh --data-dir DIR
#
# Environment: JOBS runs at once (default 1; 8 suit a large GPU), EPOCHS of an ordinary run (default 100), OUT, the folder
# of the checkpoints (default runs), and HARDWARE, a text for the cards. Started again, it resumes where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
JOBS=${JOBS:-1} EPOCHS=${EPOCHS:-100} OUT=${OUT:-runs} HARDWARE=${HARDWARE:-$(uname -m), $(nproc) cores}
DATA=("$@")
mkdir -p "$OUT"

train() { # name, options
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
  local name=$1
  shift
  python -m models.train --mode training --name "$name" --out "$OUT" --resume --quiet "$@" "${DATA[@]}" &
}

all_done() {
  for job in $(jobs -p); do wait "$job"; done
}

release() { # name, the runs that led to it
  local name=$1
  shift
  if [ ! -e "models/$name.onnx" ]; then
    python -m models.release "${@/#/$OUT/}" --name "$name" --hardware "$HARDWARE" "${DATA[@]}"
  fi
}

# Teachers. The first is trained on, with bent strokes and then with half the augmentation, to the full-precision model.
for seed in 1 2 3; do train "fp32-$seed" --precision full --epochs "$EPOCHS" --seed "$seed"; done
all_done
train fp32-bent --precision full --init "$OUT/fp32-1.best.pt" --elastic 0.7 --rate 1.2e-3 --epochs $((EPOCHS * 7 / 5))
all_done
train fp32-calm --precision full --init "$OUT/fp32-bent.best.pt" --augment 0.45 --elastic 0.3 --rate 1e-3 \
  --epochs $((EPOCHS * 3 / 10))
all_done
release lenet-fp32 fp32-1 fp32-bent fp32-calm
TEACHERS=("$OUT"/fp32-{1,2,3}.best.pt)

train k1b2 --k 1 --B 2 --epochs $((EPOCHS * 3 / 2)) --teacher "${TEACHERS[@]}"
for levels in "0 1" "0 2" "0 4" "1 1" "1 4"; do
  read -r k b <<<"$levels"
  train "k${k}b$b" --k "$k" --B "$b" --epochs "$EPOCHS" --teacher "${TEACHERS[@]}"
done
# Sparse: a penalty on spikes and more zero weights; then weak channels are removed, and training continues.
for penalty in 5e-6 1e-5 1.4e-5 2e-5 3e-5; do
  train "dense-$penalty" --penalty "$penalty" --prune 0.9 --epochs "$EPOCHS" --teacher "${TEACHERS[@]}"
done
all_done
release lenet k1b2
for levels in "0 1" "0 2" "0 4" "1 1" "1 4"; do
  read -r k b <<<"$levels"
  release "lenet-k${k}b$b" "k${k}b$b"
done
for penalty in 5e-6 1e-5 1.4e-5 2e-5 3e-5; do
  train "sparse-$penalty" --init "$OUT/dense-$penalty.best.pt" --remove-below 0.15 --penalty "$penalty" --prune 0.9 \
    --rate 1e-3 --epochs $((EPOCHS / 2)) --teacher "${TEACHERS[@]}"
done
all_done
chosen=$(python -m models.curve "$OUT"/dense-*.best.pt "$OUT"/sparse-*.best.pt "${DATA[@]}" \
  -o "$OUT/sparse-curve.json" | tail -1)
release lenet-sparse "$chosen"
