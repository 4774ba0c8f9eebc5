"""Every method, protocol and piece of advice of the documents: what it is, and where it is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from napari_medssl.guidance.sources import Source, parse

Role: TypeAlias = Literal["built", "baseline", "quoted", "protocol", "cited", "advice"]

ROLES: dict[Role, str] = {
    "built": "the document's own",
    "baseline": "run by the document to compare with",
    "quoted": "only its numbers are quoted",
    "protocol": "a way to measure or to transfer",
    "cited": "named, nothing to repeat",
    "advice": "guidance",
}


@dataclass(frozen=True)
class System:
    """A row: number (S..), title, role in its document, family ("" for no pretraining), place, methods here."""

    number: int
    title: str
    role: Role
    family: str
    where: str
    methods: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """As the code cites it."""
        return f"S{self.number:02d}"

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where it stands."""
        return parse(self.where)


def _row(number: int, title: str, role: Role, family: str, where: str, methods: str = "") -> System:
    return System(number, title, role, family, where, tuple(methods.split()))


SYSTEMS: tuple[System, ...] = (
    _row(
        1, "Geometric-transformation prediction (54-way) baseline", "baseline", "predictive", "T 1158-1164", "geometric"
    ),
    _row(2, "Single-stream Inception-ResNet-v2 jigsaw baseline", "baseline", "predictive", "T 1166-1184"),
    _row(3, "SETARR arrangement-set selection", "built", "predictive", "T 1194-1224", "sslacl"),
    _row(4, "Uniform random arrangement set (SKID)", "built", "predictive", "T 1196", "skid-v1 skid-v2 skid-v3"),
    _row(
        5,
        "JUMPAT jumbled-patch generator + patch augmentation",
        "built",
        "predictive",
        "T 1226-1286",
        "sslacl skid-v1 skid-v2 skid-v3",
    ),
    _row(6, "SSLACL pretext network", "built", "predictive", "T 1288-1301 1443 1564-1568", "sslacl"),
    _row(7, "SSLACL downstream: DIVFRAM, Divide-and-Teach, classifier", "built", "", "T 1318-1369 1449 1459"),
    _row(8, "SSLACL ablations Model-1/Model-2, oversampled pretext", "built", "", "T 1570-1605"),
    _row(
        9,
        "SKID pretext v1/v2/v3 (Conv, Skip, Dimension-Reduction blocks)",
        "built",
        "predictive",
        "T 1303-1329 1607-1625",
        "skid-v1 skid-v2 skid-v3",
    ),
    _row(10, "SKIDv3-NoBlocks", "built", "predictive", "T 1316 1512 1520", "skid-noblocks"),
    _row(11, "SKID downstream ConvLSTM multi-label classifier", "built", "", "T 1399-1408 1451-1455"),
    _row(12, "SKID 3D-CNN downstream alternative", "baseline", "", "T 1647-1663"),
    _row(13, "Plane ensemble by log-odds weighted voting", "built", "", "T 1373-1387 1395 1945-1953"),
    _row(14, "Normal-distribution slice sampling + Monte-Carlo inference", "built", "", "T 1389-1393 1955"),
    _row(15, "MRNet supervised baseline", "baseline", "", "T 1364 1465 1485-1518 1999 2017"),
    _row(
        16,
        "PIRL / SimCLR / MoCo-v2 with jigsaw transform (chapter 3 comparators)",
        "baseline",
        "contrastive",
        "T 1522-1548",
        "pirl simclr moco-v2",
    ),
    _row(17, "KneeMRI external validation", "protocol", "", "T 1418-1430 1526-1552"),
    _row(
        18,
        "SKID label-efficiency and number-of-classes and augmentation studies",
        "protocol",
        "",
        "T 1627-1645 1665-1673",
    ),
    _row(19, "Grad-CAM inspection", "protocol", "", "T 1162-1184 1461 1500 1560-1562 1579-1591"),
    _row(20, "Pair construction (2N views)", "built", "contrastive", "T 1710-1717 1915", "simclr binary"),
    _row(21, "InfoNCE / SimCLR loss", "baseline", "contrastive", "T 1719-1759 2723-2727; D 178-182", "simclr"),
    _row(22, "Binary contrastive loss L_Proposed", "built", "contrastive", "T 1777-1862", "binary"),
    _row(23, "L_Contr (Euclidean InfoNCE) and L_Combo", "built", "contrastive", "T 1864-1872", "combo"),
    _row(
        24,
        "Chapter 4 pretext model (ImageNet-initialised ResNet + projector)",
        "built",
        "",
        "T 1876 1911-1937",
        "combo simclr",
    ),
    _row(25, "Chapter 4 downstream: slice max-pool classifier, 9 models, soft voting", "built", "", "T 1878 1939-2024"),
    _row(26, "MIOv1 loss", "built", "contrastive", "T 2070-2262", "mio-v1"),
    _row(27, "MIOv2 loss", "built", "contrastive", "T 2070-2262", "mio-v2"),
    _row(28, "MIOv3 loss", "built", "contrastive", "T 2070-2262", "mio-v3"),
    _row(29, "DCL, DCLW", "baseline", "contrastive", "T 826 2293 2307 2326-2328", "dcl dclw"),
    _row(30, "MoCo-v2", "baseline", "contrastive", "T 842-844 2293 2307", "moco-v2"),
    _row(31, "BYOL (2D)", "baseline", "non-contrastive", "T 889 2307 2352 2680-2685", "byol"),
    _row(32, "Barlow Twins", "baseline", "non-contrastive", "T 901 2307 2344", "barlow-twins"),
    _row(33, "VICReg", "quoted", "non-contrastive", "T 903 2337 2345", "vicreg"),
    _row(34, "DINO", "baseline", "non-contrastive", "T 893 2351 2951", "dino"),
    _row(35, "W-MSE", "baseline", "non-contrastive", "T 907 2349 2952", "w-mse"),
    _row(36, "ZeroCL, ZeroICL, ZeroFCL", "quoted", "non-contrastive", "T 907 2346-2348", "zero-cl zero-icl zero-fcl"),
    _row(37, "ARB", "quoted", "non-contrastive", "T 909 2350", "arb"),
    _row(38, "LogDet (soft decorrelation)", "quoted", "non-contrastive", "T 2353 3035", "logdet"),
    _row(39, "Small-scale SSL bench (CIFAR-10/100, STL-10, Tiny-ImageNet)", "protocol", "", "T 2272-2311 2905-2907"),
    _row(40, "Large-scale SSL bench (ImageNet-100/1K)", "protocol", "", "T 2285-2287 2313-2360 2903"),
    _row(41, "kNN evaluation", "protocol", "", "T 2301 2907; G 1371"),
    _row(42, "Linear evaluation", "protocol", "", "T 2315; G 689 1370"),
    _row(
        43,
        "Transfer fine-tuning bench (MURA, Chaoyang, ISIC2016, MHIST; Flowers, CIFAR)",
        "protocol",
        "",
        "T 2362-2395 2911-2913 3038-3069",
    ),
    _row(
        44,
        "Alignment, uniformity, inter-class uniformity, tolerance",
        "protocol",
        "",
        "T 830 1862 2160 2185 2713 2743-2756 3105-3112",
    ),
    _row(45, "Hessian eigen-spectrum + PL convergence analysis", "protocol", "", "T 2397-2617 3540-3680"),
    _row(46, "MIO ablations: temperature, epochs, batch, ResNet-9", "protocol", "", "T 2619-2693"),
    _row(47, "DySTreSS vanilla cosine temperature", "built", "contrastive", "T 2781-2887", "dystress"),
    _row(48, "DySTreSS linear / exponential temperature", "built", "contrastive", "T 3073-3082", "dystress"),
    _row(49, "DySTreSS shifted profiles (Alg. 6.1)", "built", "contrastive", "T 3114-3153", "dystress"),
    _row(50, "DySTreSS on DCL", "built", "contrastive", "T 3005", "dystress-dcl"),
    _row(51, "MACL", "baseline", "contrastive", "T 2713 2929 2944 2985-3005", "macl"),
    _row(52, "Kukleva et al. cosine temperature schedule", "baseline", "contrastive", "T 2713 2935 2941 2957"),
    _row(53, "Long-tailed benches (CIFAR-LT, ImageNet100-LT)", "protocol", "", "T 2895 2907 2932-2973"),
    _row(54, "ODE temperature family (Eq. 6.14)", "built", "contrastive", "T 2833-2873", "dystress"),
    _row(55, "Superpixel pseudo-masks (Felzenszwalb)", "built", "episodes", "T 3234-3240", "cowpro"),
    _row(56, "Self-supervised episode construction", "built", "episodes", "T 3205-3213 3344-3348", "cowpro"),
    _row(57, "CoWPro encoder", "built", "episodes", "T 3242-3244", "cowpro"),
    _row(58, "Prototype extraction (thresholds, global prototype)", "built", "episodes", "T 3250-3264"),
    _row(59, "Centring, correlation, temperature softmax, aggregation", "built", "episodes", "T 3260-3300"),
    _row(60, "Score + mask prediction", "built", "episodes", "T 3302-3342 3350"),
    _row(61, "Training loss, class weights, CCR", "built", "episodes", "T 3344-3368 3408", "cowpro"),
    _row(62, "One-shot volume inference (support scan, three parts)", "built", "episodes", "T 3370-3380"),
    _row(63, "Quadrant masking", "built", "episodes", "T 3382-3388 3453-3462"),
    _row(64, "Top-k% prototypes, averaging-window study", "built", "episodes", "T 3464-3482"),
    _row(65, "Dice protocol and compared few-shot systems", "protocol", "", "T 3390-3431"),
    _row(66, "Literature-only systems of thesis chapter 2", "cited", "", "T 690-1109"),
    _row(67, "3D U-Net backbone, with / without skip connections", "built", "", "D 274 297-327"),
    _row(68, "ROT, rotation of volumes", "baseline", "predictive", "D 109-134", "rot3d"),
    _row(69, "RPL, relative patch location", "baseline", "predictive", "D 136-138", "rpl"),
    _row(70, "Jigsaw3D, jigsaw of cubes", "baseline", "predictive", "D 140-144", "jigsaw3d"),
    _row(71, "RKB, Rubik's cube", "baseline", "predictive", "D 146-156", "rubik"),
    _row(72, "RKB+, Rubik's cube+", "baseline", "predictive", "D 158-166", "rubik-plus"),
    _row(73, "AE, autoencoder", "baseline", "generative", "D 168-170", "autoencoder"),
    _row(74, "Models Genesis (MG)", "baseline", "generative", "D 172-174", "model-genesis"),
    _row(75, "PCRL", "baseline", "hybrid", "D 176", "pcrl"),
    _row(76, "SimCLR3D", "baseline", "contrastive", "D 178-182 514", "simclr3d"),
    _row(77, "BYOL3D", "baseline", "non-contrastive", "D 184-186", "byol3d"),
    _row(78, "Target tasks NCC, NCS, LCS, MSD", "protocol", "", "D 188-210 385-405"),
    _row(79, "Imbalance theory + imbalance experiments", "protocol", "", "D 226-270"),
    _row(80, "Encoder / decoder / skip transfer study", "protocol", "", "D 297-327"),
    _row(81, "BN re-collection, TBS vs MBS, BN distance", "built", "", "D 329-346"),
    _row(82, "Fixed / warm-up / full fine-tuning", "protocol", "", "D 348-358"),
    _row(83, "Pretext choice and input-size studies", "protocol", "", "D 361-426"),
    _row(84, "Grad-CAM comparison across pretexts", "protocol", "", "D 432-442"),
    _row(85, "CKA layer similarity", "protocol", "", "D 444-467"),
    _row(86, "Mean resampling x SSL", "protocol", "", "D 471-482"),
    _row(87, "Augmentation strength x SSL", "protocol", "", "D 484-508"),
    _row(
        88,
        "SL-vs-SSL comparative protocol (Espis et al.)",
        "protocol",
        "",
        "G 42-67 181-197 257-261 447-457 794-808 974-983 1063-1071 1353-1364 1428-1442 1508-1516 1778-1796",
    ),
    _row(89, "Generic pretext-then-fine-tune pipeline", "protocol", "", "G 69-78 328-350 439-445 1345-1351"),
    _row(90, "Masked image modelling / MAE", "cited", "generative", "G 521-532; T 757-771", "mae2d mae3d"),
    _row(91, "SS-UNet (sparse-conv MIM)", "cited", "generative", "G 937 1254-1272"),
    _row(92, "GMS-JIGNet", "cited", "predictive", "G 508-519"),
    _row(93, "2D rotation pretext", "cited", "predictive", "G 534-540", "rotation"),
    _row(94, "SimCLR vs MoCo comparison", "cited", "contrastive", "G 568-589"),
    _row(95, "MoCo-CXR", "cited", "contrastive", "G 597 620-631"),
    _row(96, "3D Neuro-SimCLR", "cited", "contrastive", "G 598 633-642"),
    _row(97, "Counterfactual contrastive learning", "cited", "contrastive", "G 599"),
    _row(98, "DiRA", "cited", "hybrid", "G 611 675"),
    _row(99, "SwAV, SimSiam", "cited", "non-contrastive", "T 860 885 891; G 147 209", "swav simsiam"),
    _row(100, "End-to-end vs linear probe vs PEFT/LoRA", "protocol", "", "G 679-762"),
    _row(
        101,
        "Anatomy-oriented pretexts (plane intersection, slice location)",
        "cited",
        "predictive",
        "G 266-269 1072-1084",
    ),
    _row(102, "3DINO / 3DINO-ViT", "cited", "non-contrastive", "G 262-265 1339"),
    _row(103, "DINOv2 embeddings + vector search + ViT-CX", "cited", "non-contrastive", "G 1517-1527 1739-1742"),
    _row(104, "2D SSL + attention MIL for volumes (prostate)", "cited", "", "G 1151-1158 1708-1716"),
    _row(105, "Multi-stage SSL for OCT", "cited", "hybrid", "G 1142-1149"),
    _row(106, "GenSeg", "cited", "generative", "G 872-880 938"),
    _row(107, "Anomaly detection bench (MedIAnomaly)", "cited", "generative", "G 882-908"),
    _row(108, "PathoGraph + KGR", "cited", "", "G 914-928"),
    _row(109, "ETSEF, UMedPT, OMCLF, MixMatch", "cited", "", "G 968 984-993 1046-1057 1098"),
    _row(110, "Imbalance-aware segmentation (hybrid loss, EAM, dual decoder + PIL)", "cited", "", "G 994-1003"),
    _row(111, "MediAug mix augmentations", "cited", "", "G 1222-1252"),
    _row(112, "Metric list with formulas", "protocol", "", "G 155-179 1292-1293 1442"),
    _row(113, "OOD detection / cross-domain evaluation", "protocol", "", "G 350 1603-1638"),
    _row(114, "Active learning loop", "cited", "", "G 102 1533-1539"),
    _row(
        115,
        "Zero-shot SSL MRI reconstruction; wearable-EEG SSL; others outside imaging",
        "cited",
        "",
        "G 149-151 1718-1725 1809-1824",
    ),
    _row(116, "NNCLR + Integrated Gradients for dementia", "cited", "contrastive", "G 810-820"),
    _row(117, "Weakly supervised pneumonia localisation (Grad-CAM)", "cited", "", "G 822-832"),
    _row(118, "Framework comparison MONAI / PyTorch / TF / JAX", "advice", "", "G 1302-1398"),
    _row(119, "Annotation cost model", "advice", "", "G 17-40"),
    _row(120, "Decision flowcharts (five of them)", "advice", "", "G 98 217 1171 1276 1731"),
    _row(121, "Review taxonomy: contrastive / non-contrastive+predictive / generative / hybrid", "advice", "", "R 13"),
)
"""All of them by number. The methods incontext and propagation are ours and stand in no document."""
