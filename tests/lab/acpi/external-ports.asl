// Two root ports of the machine lead out of it, as a Thunderbolt port does: Linux trusts no device behind them.
//
// "Identifying externally exposed PCIe root ports": a property that pci_acpi_set_external_facing() asks for, under a
// UUID of its own (prp_guids of drivers/acpi/property.c). S80 and S88 are what QEMU calls the ports at 10.0 and 11.0.
DefinitionBlock ("", "SSDT", 2, "LAB", "EXTERNAL", 1)
{
    External (\_SB.PCI0.S80, DeviceObj)
    External (\_SB.PCI0.S88, DeviceObj)
    Name (\EXTF, Package ()
    {
        ToUUID ("efcc06cc-73ac-4bc3-bff0-76143807c389"),
        Package () { Package () { "ExternalFacingPort", 1 } }
    })
    Scope (\_SB.PCI0.S80) { Method (_DSD) { Return (\EXTF) } }
    Scope (\_SB.PCI0.S88) { Method (_DSD) { Return (\EXTF) } }
}
