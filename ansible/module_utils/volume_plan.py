"""Names of volumes: what the kernel and EC2 call them."""

LETTERS = "fghijklmnop"
"""AWS recommends /dev/sd[f-p] for data volumes."""


def device_of(volume_id):
    """The link that udev makes for an EBS volume on a Nitro instance."""
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def volume_of(path):
    """The volume of such a link, or "" for another disk."""
    name = path.rsplit("/", 1)[-1]
    head, _, digits = name.partition("_Block_Store_vol")
    return f"vol-{digits}" if head.startswith("nvme-Amazon_Elastic") and digits else ""


def free_device(taken):
    """The first free device name, or None."""
    used = {name.rstrip("0123456789").replace("/dev/xvd", "/dev/sd") for name in taken}
    names = (f"/dev/sd{letter}" for letter in LETTERS)
    return next((name for name in names if name not in used), None)
