#!/usr/bin/env bash
# torch 2.14.1 (and 2.15.0), Python 3.11, seen on 2026-11-27 on an AMD EPYC (Zen 5, AVX-512 bf16).
#
# The weight gradient of a bf16 convolution on a CPU has entries that are never written, where the
# map is narrower than the horizontal stride: 3×3, stride 2, padding 1 on a map one pixel wide. The
# left and right columns of that kernel meet nothing but padding, so their gradient is exactly 0.
# What stands there instead is whatever lay in that memory: numbers of other tensors, or NaN.
# No error and no warning. Held to AVX2, oneDNN leaves the work to torch's own kernel, which is
# right. fp32 is right with both.
#
# Output seen (the count of wrong gradients differs from run to run; 0 would be a change):
#   torch 2.14.1+cu130, all instruction sets: 195 of 200 gradients wrong in bf16, 0 in fp32
#   torch 2.14.1+cu130, AVX2: 0 of 200 gradients wrong in bf16, 0 in fp32
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

if ! grep -q avx512_bf16 /proc/cpuinfo; then
    echo "this processor has no AVX-512 bf16: the fault cannot be shown here"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" torch==2.14.1 numpy==2.3.5

cat > "$folder/gradient.py" <<'PYTHON'
import torch

torch.manual_seed(0)
wrong = {}
for dtype in (torch.bfloat16, torch.float32):
    wrong[dtype] = 0
    for _ in range(200):
        before = torch.full((4, 32 * 16 * 9), 7.0, dtype=dtype)  # what memory holds from before
        del before
        net = torch.nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        net = net.to(dtype=dtype, memory_format=torch.channels_last)
        images = torch.randn(8, 16, 4, 1, dtype=dtype)  # 4 high, 1 wide
        net(images.contiguous(memory_format=torch.channels_last)).sum().backward()
        beside = net.weight.grad[..., [0, 2]]  # the columns of the kernel that see padding alone
        wrong[dtype] += not bool((beside == 0).all())
print(torch.__version__, wrong[torch.bfloat16], wrong[torch.float32])
PYTHON

changed=0
for isa in DEFAULT AVX2; do
    read -r version bf16 fp32 < <(
        ONEDNN_MAX_CPU_ISA=$isa OMP_NUM_THREADS=1 PYTHONPATH="$folder/site" \
            python3.11 "$folder/gradient.py"
    )
    echo "torch $version, ${isa/DEFAULT/all instruction sets}: $bf16 of 200 gradients wrong in bf16, $fp32 in fp32"
    if [ "$fp32" -ne 0 ]; then changed=1; fi
    if [ "$isa" = AVX2 ] && [ "$bf16" -ne 0 ]; then changed=1; fi
    if [ "$isa" = DEFAULT ] && [ "$bf16" -eq 0 ]; then changed=1; fi
done
exit "$changed"
