"""The methods of the book: one line each, from the name on the command line to a task.

A value is ``"module:class"``; the module is imported only when the method is used.
"""

METHODS: dict[str, str] = {
    "cgan": "mmgen.models.cgan:CGANTask",
    "damsm": "mmgen.models.damsm:DAMSMTask",
    "vae": "mmgen.models.vae:VAETask",
    "cvae": "mmgen.models.vae:ConditionalVAETask",
    "mvae": "mmgen.models.multimodal_vae:MultimodalVAETask",
    "attngan": "mmgen.models.attngan:AttnGANTask",
}
