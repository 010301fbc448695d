# pyright: reportMissingImports=false
"""What a user would take instead, each written as its own documentation teaches it.

A contender is built from labelled images in memory and has `step()` (one training step of `batch`
images, data loading included) and `sample(labels, calls)` → uint8 images. `forward(n)` runs the
network once on n images, for counting its work. Everything in fp32 and NCHW, as it comes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from augment.data.images import LabelledImages, to_float, to_uint8
from augment.experiment.arms import generator_set
from augment.generators import GENERATORS
from augment.generators.ddpm import DDPM
from augment.training.loop import train

CPU = torch.device("cpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # of the diffusion models
WIDTHS = (32, 64)


class Pictures(Dataset[tuple[Tensor, int]]):
    """PIL pictures with torchvision transforms, as in every tutorial."""

    def __init__(self, data: LabelledImages, policy: str) -> None:
        to_pil = transforms.ToPILImage()
        self.pictures = [to_pil(image) for image in data.images]
        self.labels = data.labels.tolist()
        grey = data.shape[0] == 1
        moved = {
            "document": [transforms.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), shear=14)],
            "natural": [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(data.shape[1], data.shape[1] // 8, padding_mode="reflect"),
            ],
        }[policy]
        middle = (0.5,) * (1 if grey else 3)
        self.transform = transforms.Compose(
            [*moved, transforms.ToTensor(), transforms.Normalize(middle, middle)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[place]), self.labels[place]


def endless(
    data: LabelledImages, policy: str, batch: int, seed: int, device: torch.device = CPU
) -> Iterator[list[Tensor]]:
    """Batches of a DataLoader, epoch after epoch; a set smaller than a batch is repeated."""
    pictures = Pictures(data, policy)
    sampler = torch.utils.data.RandomSampler(
        pictures,
        replacement=False,
        num_samples=max(len(pictures), batch) // batch * batch,
        generator=torch.Generator().manual_seed(seed),
    )
    batches = itertools.chain.from_iterable(
        iter(lambda: DataLoader(pictures, batch, sampler=sampler), None)
    )
    return ([part.to(device) for part in own] for own in batches)


class Ours:
    """augment's ddpm with its defaults, or with some changed."""

    def __init__(
        self,
        data: LabelledImages,
        policy: str,
        *,
        seed: int,
        batch: int = 64,
        steps: int = 10**6,
        precision: str = "fp32",
        **changed: Any,
    ) -> None:
        self.batch, self.data = batch, data
        self.model = DDPM(steps=steps, batch=batch, widths=WIDTHS, **changed)
        learnt = generator_set(data, policy, self.model.transformed)
        self.model.prepare(learnt.parts[0], seed=seed, device=DEVICE, precision=precision)
        self.steps = train(self.model, learnt, seed=seed, device=DEVICE)

    def step(self) -> None:
        next(self.steps)

    def sample(self, labels: Tensor, calls: int) -> Tensor:
        self.model.calls = calls
        return self.model.sample(labels, seeds=torch.arange(len(labels)))

    def forward(self, n: int) -> None:
        image = torch.zeros(n, *self.data.shape, device=DEVICE)
        zeros = torch.zeros(n, dtype=torch.int64, device=DEVICE)
        self.model.velocity(
            self.model.spectrum.to_components(image), torch.tensor(1, device=DEVICE), zeros
        )


class DiffusersLoop:
    """The training example of diffusers: UNet2DModel, DataLoader, AdamW, EMAModel, DDIM."""

    trained = 0.0  # seconds

    def __init__(
        self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64, fold: int = 2
    ) -> None:
        from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
        from diffusers.training_utils import EMAModel

        torch.manual_seed(seed)
        self.batch, self.fold, self.k = batch, fold, len(data.classes)
        channels, side = data.shape[0] * fold**2, data.shape[1] // fold
        self.net = UNet2DModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=1,
            block_out_channels=WIDTHS,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=8,
            attention_head_dim=32,
            num_class_embeds=self.k + 1,
        ).to(DEVICE)
        self.shape = (channels, side, side)
        kind: dict[str, Any] = dict(
            beta_schedule="squaredcos_cap_v2",
            prediction_type="v_prediction",
            timestep_spacing="trailing",
        )
        self.noising: Any = DDPMScheduler(**kind)
        self.denoising: Any = DDIMScheduler(**kind)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=1e-3)
        self.ema = EMAModel(self.net.parameters(), decay=0.995)
        self.batches = endless(data, policy, batch, seed, DEVICE)

    def step(self) -> None:
        images, labels = next(self.batches)
        clean = F.pixel_unshuffle(images, self.fold)
        noise = torch.randn_like(clean)
        t = torch.randint(0, 1000, (len(clean),), device=DEVICE)
        labels = torch.where(torch.rand(len(clean), device=DEVICE) < 0.1, self.k, labels)
        noisy = self.noising.add_noise(clean, noise, t)
        v = self.net.train()(noisy, t, class_labels=labels).sample
        loss = F.mse_loss(v, self.noising.get_velocity(clean, noise, t))
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.step(self.net.parameters())

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int) -> Tensor:
        self.ema.store(self.net.parameters())
        self.ema.copy_to(self.net.parameters())
        self.net.eval()
        parts = []
        for own in labels.split(256):
            x = torch.randn(len(own), *self.shape, device=DEVICE)
            self.denoising.set_timesteps(calls)
            for t in self.denoising.timesteps:
                v = self.net(x, t, class_labels=own.to(DEVICE)).sample
                x = self.denoising.step(v, t, x).prev_sample
            parts.append(to_uint8(F.pixel_shuffle(x, self.fold)).cpu())
        self.ema.restore(self.net.parameters())
        return torch.cat(parts)

    @torch.no_grad()
    def forward(self, n: int) -> None:
        zeros = torch.zeros(n, dtype=torch.int64, device=DEVICE)
        self.net.eval()(torch.zeros(n, *self.shape, device=DEVICE), zeros, class_labels=zeros)


class Lucidrains:
    """denoising-diffusion-pytorch's classifier_free_guidance, unguided, DDIM."""

    trained = 0.0  # seconds

    def __init__(self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64) -> None:
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet

        torch.manual_seed(seed)
        self.batch, (channels, height, _) = batch, data.shape

        class Unguided(Unet):
            """cond_scale=1 breaks in 2.3.4 (one value returned where two are unpacked)."""

            def forward_with_cond_scale(self, *inputs: Any, **_: Any) -> tuple[Tensor, Tensor]:
                v = self.forward(*inputs, cond_drop_prob=0.0)
                return v, v

        self.net = Unguided(
            dim=WIDTHS[0],
            num_classes=len(data.classes),
            dim_mults=(1, 2),
            channels=channels,
            cond_drop_prob=0.1,
        ).to(DEVICE)
        self.shape = (channels, height, height)
        self.diffusion = GaussianDiffusion(
            self.net,
            image_size=height,
            timesteps=1000,
            sampling_timesteps=20,
            objective="pred_v",
            beta_schedule="cosine",
        ).to(DEVICE)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.batches = endless(data, policy, batch, seed, DEVICE)

    def step(self) -> None:
        images, labels = next(self.batches)
        self.diffusion(images * 0.5 + 0.5, classes=labels).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int) -> Tensor:
        self.diffusion.sampling_timesteps, self.diffusion.is_ddim_sampling = calls, True
        labels = labels.to(DEVICE)
        parts = [self.diffusion.sample(own, cond_scale=1.0) for own in labels.split(256)]
        return to_uint8(torch.cat(parts) * 2 - 1).cpu()

    @torch.no_grad()
    def forward(self, n: int) -> None:
        zeros = torch.zeros(n, dtype=torch.int64, device=DEVICE)
        self.net(torch.zeros(n, *self.shape, device=DEVICE), zeros, zeros, cond_drop_prob=0.0)


class FlowMatching:
    """torchcfm's UNet and conditional flow matcher, Euler."""

    def __init__(self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64) -> None:
        from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
        from torchcfm.models.unet import UNetModel

        torch.manual_seed(seed)
        self.batch, self.shape = batch, data.shape
        self.net = UNetModel(
            dim=data.shape,
            num_channels=WIDTHS[0],
            num_res_blocks=1,
            channel_mult=(1, 2),
            num_classes=len(data.classes),
            class_cond=True,
            attention_resolutions=str(data.shape[1] // 2),
        ).to(DEVICE)
        self.matcher = ConditionalFlowMatcher(sigma=0.0)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.batches = endless(data, policy, batch, seed, DEVICE)

    def step(self) -> None:
        images, labels = next(self.batches)
        t, x, flow = self.matcher.sample_location_and_conditional_flow(
            torch.randn_like(images), images
        )
        F.mse_loss(self.net(t, x, labels), flow).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int) -> Tensor:
        parts = []
        for own in labels.split(256):
            x, own = torch.randn(len(own), *self.shape, device=DEVICE), own.to(DEVICE)
            for k in range(calls):
                t = torch.full((len(own),), k / calls, device=DEVICE)
                x = x + self.net(t, x, own) / calls
            parts.append(to_uint8(x).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def forward(self, n: int) -> None:
        zeros = torch.zeros(n, dtype=torch.int64, device=DEVICE)
        x = torch.zeros(n, *self.shape, device=DEVICE)
        self.net(torch.zeros(n, device=DEVICE), x, zeros)


class SmallDiffusion:
    """smalldiffusion's Unet with labels, its schedule, loss and sampler."""

    def __init__(self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64) -> None:
        import smalldiffusion as sd

        torch.manual_seed(seed)
        self.batch, (channels, height, _) = batch, data.shape
        self.sd, self.shape = sd, data.shape
        self.net = sd.Scaled(sd.Unet)(
            height,
            channels,
            channels,
            ch=WIDTHS[0],
            ch_mult=(1, 2),
            num_res_blocks=1,
            attn_resolutions=(height // 2,),
            dropout=0.0,
            cond_embed=sd.CondEmbedderLabel(4 * WIDTHS[0], len(data.classes), 0.1),
        ).to(DEVICE)
        self.schedule = sd.ScheduleLogLinear(1000, sigma_min=0.01, sigma_max=20)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.batches = endless(data, policy, batch, seed, DEVICE)

    def step(self) -> None:
        images, labels = next(self.batches)
        self.net.train()
        sigma = self.schedule.sample_batch(images).view(-1, 1, 1, 1)
        self.net.get_loss(images, sigma, torch.randn_like(images), cond=labels).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int) -> Tensor:
        self.net.eval()
        sigmas, parts = self.schedule.sample_sigmas(calls), []
        for own in labels.split(256):
            *_, x = self.sd.samples(
                self.net, sigmas, gam=1.6, batchsize=len(own), cond=own.to(DEVICE), cfg_scale=0.0
            )
            parts.append(to_uint8(x).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def forward(self, n: int) -> None:
        x = torch.zeros(n, *self.shape, device=DEVICE)
        labels = torch.zeros(n, dtype=torch.int64, device=DEVICE)
        self.net.eval()(x, torch.ones(n, 1, 1, 1, device=DEVICE), cond=labels)


class TextbookGAN:
    """The fully connected cGAN of the PyTorch example collections: least squares, Adam."""

    trained = 0.0  # seconds
    latent = 100

    def __init__(self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64) -> None:
        torch.manual_seed(seed)
        self.batch, self.shape, k = batch, data.shape, len(data.classes)
        pixels = data.images[0].numel()
        self.label_g, self.label_d = nn.Embedding(k, k), nn.Embedding(k, k)
        layers: list[nn.Module] = [nn.Linear(self.latent + k, 128), nn.LeakyReLU(0.2)]
        for a, b in itertools.pairwise((128, 256, 512, 1024)):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.LeakyReLU(0.2)]
        self.g = nn.Sequential(*layers, nn.Linear(1024, pixels), nn.Tanh())
        self.d = nn.Sequential(
            nn.Linear(k + pixels, 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 512),
            nn.Dropout(0.4),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 512),
            nn.Dropout(0.4),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 1),
        )
        rate: dict[str, Any] = dict(lr=2e-4, betas=(0.5, 0.999))
        self.opt_g = torch.optim.Adam([*self.g.parameters(), *self.label_g.parameters()], **rate)
        self.opt_d = torch.optim.Adam([*self.d.parameters(), *self.label_d.parameters()], **rate)
        self.batches = endless(data, policy, batch, seed)

    def made(self, labels: Tensor) -> Tensor:
        z = torch.randn(len(labels), self.latent)
        return self.g(torch.cat([self.label_g(labels), z], 1))

    def judged(self, flat: Tensor, labels: Tensor) -> Tensor:
        return self.d(torch.cat([flat, self.label_d(labels)], 1))

    def step(self) -> None:
        images, labels = next(self.batches)
        self.g.train()
        wanted = torch.randint(0, self.label_g.num_embeddings, (len(images),))
        fake = self.made(wanted)
        self.opt_g.zero_grad()
        (self.judged(fake, wanted) - 1).square().mean().backward()
        self.opt_g.step()
        self.opt_d.zero_grad()
        loss = (self.judged(images.flatten(1), labels) - 1).square().mean()
        (0.5 * (loss + self.judged(fake.detach(), wanted).square().mean())).backward()
        self.opt_d.step()

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int) -> Tensor:
        self.g.eval()
        return to_uint8(self.made(labels).unflatten(1, self.shape))


class TextbookVAE:
    """The fully connected VAE of PyTorch's examples with the class beside image and code."""

    trained = 0.0  # seconds
    latent = 20

    def __init__(self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64) -> None:
        torch.manual_seed(seed)
        self.batch, self.shape, self.k = batch, data.shape, len(data.classes)
        pixels = data.images[0].numel()
        self.enter = nn.Linear(pixels + self.k, 400)
        self.mean, self.spread = nn.Linear(400, self.latent), nn.Linear(400, self.latent)
        self.decoder = nn.Sequential(
            nn.Linear(self.latent + self.k, 400), nn.ReLU(), nn.Linear(400, pixels), nn.Sigmoid()
        )
        parts = (self.enter, self.mean, self.spread, self.decoder)
        self.optimiser = torch.optim.Adam([p for m in parts for p in m.parameters()], 1e-3)
        self.batches = endless(data, policy, batch, seed)

    def step(self) -> None:
        images, labels = next(self.batches)
        flat, kind = images.flatten(1) * 0.5 + 0.5, F.one_hot(labels, self.k).float()
        hidden = self.enter(torch.cat([flat, kind], 1)).relu()
        mean, log_variance = self.mean(hidden), self.spread(hidden)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        made = self.decoder(torch.cat([z, kind], 1))
        loss = F.binary_cross_entropy(made, flat.clamp(0, 1), reduction="sum")
        loss = loss - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int) -> Tensor:
        z = torch.randn(len(labels), self.latent)
        made = self.decoder(torch.cat([z, F.one_hot(labels, self.k).float()], 1))
        return to_uint8(made.unflatten(1, self.shape) * 2 - 1)


class Fast:
    """augment's cgan or cvae as it trains."""

    def __init__(self, name: str, data: LabelledImages, policy: str, precision: str) -> None:
        self.model = GENERATORS[name](**{**GENERATORS[name].presets["quick"], "steps": 10**6})
        learnt = generator_set(data, policy, self.model.transformed)
        self.model.prepare(learnt.parts[0], seed=0, device=CPU, precision=precision)
        self.steps = train(self.model, learnt, seed=0, device=CPU)

    def step(self) -> None:
        next(self.steps)


class Plain:
    """The same networks, losses and averages, fed by a DataLoader, in NCHW with plain Adam."""

    def __init__(self, name: str, data: LabelledImages, policy: str) -> None:
        self.model = GENERATORS[name](**{**GENERATORS[name].presets["quick"], "steps": 10**6})
        self.model.prepare(data, seed=0, device=CPU)
        for module in self.model.modules.values():
            module.to(memory_format=torch.contiguous_format)
        for key, optimiser in self.model.optimisers.items():
            self.model.optimisers[key] = torch.optim.Adam(
                optimiser.param_groups[0]["params"], 1e-3, foreach=False
            )
        self.batches = endless(data, policy, self.model.batch, 0)
        self.rng, self.done = torch.Generator().manual_seed(0), 0

    def step(self) -> None:
        images, labels = next(self.batches)
        self.model.update(images, labels, step=self.done, rng=self.rng)
        self.done += 1


class ResNet18:
    """torchvision's ResNet-18, DataLoader, SGD; the rate stays, as nobody knows the end."""

    def __init__(self, data: LabelledImages, policy: str, *, seed: int, batch: int = 64) -> None:
        torch.manual_seed(seed)
        self.net = torchvision.models.resnet18(num_classes=len(data.classes))
        self.optimiser = torch.optim.SGD(
            self.net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4
        )
        self.batches = endless(data, policy, batch, seed)
        self.trained = 0.0

    def step(self) -> None:
        images, labels = next(self.batches)
        F.cross_entropy(self.net.train()(images), labels).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    @torch.no_grad()
    def accuracy(self, test: LabelledImages) -> float:
        self.net.eval()
        guessed = [self.net(to_float(part)).argmax(1) for part in test.images.split(500)]
        return 100 * float((torch.cat(guessed) == test.labels).float().mean())


Contender = Callable[..., Any]
TEXTBOOK: dict[str, Contender] = {"textbook MLP cGAN": TextbookGAN, "textbook MLP VAE": TextbookVAE}
PEERS: dict[str, Contender] = {
    "diffusers": DiffusersLoop,
    "denoising-diffusion-pytorch": Lucidrains,
    "torchcfm": FlowMatching,
    "smalldiffusion": SmallDiffusion,
}
