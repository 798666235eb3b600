"""The network's resources, by EC2's API."""

from typing import Any, ClassVar

from botocore.exceptions import ClientError
from tests.deploy.cloud.stand_in.server import (
    ACCOUNT,
    REGION,
    Cloud,
    Handler,
    State,
    handles,
    tag_list,
)


class Described(Handler):
    """What EC2 describes by its id. The class attributes name the calls."""

    noun: str
    plural: str
    id_key: str
    arguments: ClassVar[dict[str, str]]
    """Our argument to the API's."""
    seen: ClassVar[dict[str, str]] = {}
    """What a description says, by our names: a change from outside shows in the next plan."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("ec2")
        given = {api: planned[ours] for ours, api in self.arguments.items() if planned[ours]}
        answer = getattr(client, f"create_{self.noun}")(**given)
        one = next(
            value for value in answer.values() if isinstance(value, dict) and self.id_key in value
        )
        identifier = one[self.id_key]
        client.create_tags(Resources=[identifier], Tags=tag_list(planned))
        arn = f"arn:aws:ec2:{REGION}:{ACCOUNT}:{self.noun.replace('_', '-')}/{identifier}"
        return {"id": identifier, "arn": arn} if "arn" in planned else {"id": identifier}

    def read(self, cloud: Cloud, state: State) -> State | None:
        found = self.describe(cloud, state["id"])
        if found is None:
            return None
        tags = {one["Key"]: one["Value"] for one in found.get("Tags", [])}
        return {"tags_all": tags, **{ours: found[api] for ours, api in self.seen.items()}}

    def delete(self, cloud: Cloud, state: State) -> None:
        getattr(cloud.client("ec2"), f"delete_{self.noun}")(**{self.id_key: state["id"]})

    def describe(self, cloud: Cloud, identifier: str) -> dict[str, Any] | None:
        call = getattr(cloud.client("ec2"), f"describe_{self.plural}")
        try:
            answer = call(**{f"{self.id_key}s": [identifier]})
        except ClientError as error:
            if "NotFound" in error.response["Error"]["Code"]:
                return None
            raise
        found = next(value for key, value in answer.items() if isinstance(value, list))
        return dict(found[0]) if found else None


@handles("aws_vpc")
class Vpc(Described):
    noun, plural, id_key = "vpc", "vpcs", "VpcId"
    arguments: ClassVar = {"cidr_block": "CidrBlock"}
    seen: ClassVar = {"cidr_block": "CidrBlock"}

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        made = super().create(cloud, planned, config)
        for argument in ("EnableDnsSupport", "EnableDnsHostnames"):
            value = {argument: {"Value": True}}
            cloud.client("ec2").modify_vpc_attribute(VpcId=made["id"], **value)
        return made


@handles("aws_subnet")
class Subnet(Described):
    noun, plural, id_key = "subnet", "subnets", "SubnetId"
    arguments: ClassVar = {
        "vpc_id": "VpcId",
        "cidr_block": "CidrBlock",
        "availability_zone": "AvailabilityZone",
    }
    seen: ClassVar = {**arguments, "map_public_ip_on_launch": "MapPublicIpOnLaunch"}


@handles("aws_internet_gateway")
class InternetGateway(Described):
    noun, plural, id_key = "internet_gateway", "internet_gateways", "InternetGatewayId"
    arguments: ClassVar[dict[str, str]] = {}

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        made = super().create(cloud, planned, config)
        where = {"InternetGatewayId": made["id"], "VpcId": planned["vpc_id"]}
        cloud.client("ec2").attach_internet_gateway(**where)
        return made

    def delete(self, cloud: Cloud, state: State) -> None:
        where = {"InternetGatewayId": state["id"], "VpcId": state["vpc_id"]}
        cloud.client("ec2").detach_internet_gateway(**where)
        super().delete(cloud, state)


@handles("aws_eip")
class Address(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("ec2")
        made = client.allocate_address(Domain=planned["domain"])
        client.create_tags(Resources=[made["AllocationId"]], Tags=tag_list(planned))
        found = {"id": made["AllocationId"], "allocation_id": made["AllocationId"]}
        return {**found, "public_ip": made["PublicIp"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("ec2").release_address(AllocationId=state["id"])


@handles("aws_nat_gateway")
class NatGateway(Described):
    noun, plural, id_key = "nat_gateway", "nat_gateways", "NatGatewayId"
    arguments: ClassVar = {"allocation_id": "AllocationId", "subnet_id": "SubnetId"}
    seen: ClassVar = {"subnet_id": "SubnetId"}


@handles("aws_route_table")
class RouteTable(Described):
    noun, plural, id_key = "route_table", "route_tables", "RouteTableId"
    arguments: ClassVar = {"vpc_id": "VpcId"}
    seen: ClassVar = arguments


@handles("aws_route")
class Route(Handler):
    """To a gateway of either kind; the only thing of the network that changes in place."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        cloud.client("ec2").create_route(**self._target(planned))
        return {"id": f"r-{planned['route_table_id']}"}

    def update(self, cloud: Cloud, planned: State, config: State, prior: State) -> State:
        cloud.client("ec2").replace_route(**self._target(planned))
        return {}

    def read(self, cloud: Cloud, state: State) -> State | None:
        client = cloud.client("ec2")
        table = client.describe_route_tables(RouteTableIds=[state["route_table_id"]])
        for route in table["RouteTables"][0]["Routes"]:
            if route.get("DestinationCidrBlock") == state["destination_cidr_block"]:
                return {"nat_gateway_id": route.get("NatGatewayId") or state["nat_gateway_id"]}
        return None

    def delete(self, cloud: Cloud, state: State) -> None:
        target = self._target(state)
        keys = ("RouteTableId", "DestinationCidrBlock")
        cloud.client("ec2").delete_route(**{key: target[key] for key in keys})

    def _target(self, planned: State) -> dict[str, str]:
        names = {
            "route_table_id": "RouteTableId",
            "destination_cidr_block": "DestinationCidrBlock",
            "gateway_id": "GatewayId",
            "nat_gateway_id": "NatGatewayId",
        }
        return {api: planned[ours] for ours, api in names.items() if planned[ours]}


@handles("aws_route_table_association")
class Association(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        where = {"RouteTableId": planned["route_table_id"], "SubnetId": planned["subnet_id"]}
        return {"id": cloud.client("ec2").associate_route_table(**where)["AssociationId"]}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("ec2").disassociate_route_table(AssociationId=state["id"])


@handles("aws_security_group")
class SecurityGroup(Described):
    noun, plural, id_key = "security_group", "security_groups", "GroupId"
    arguments: ClassVar = {"name": "GroupName", "description": "Description", "vpc_id": "VpcId"}
    seen: ClassVar = {"description": "Description", "vpc_id": "VpcId"}

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("ec2")
        given = {api: planned[ours] for ours, api in self.arguments.items()}
        identifier = client.create_security_group(**given)["GroupId"]
        client.create_tags(Resources=[identifier], Tags=tag_list(planned))
        _revoke_all(client, identifier)  # AWS's provider takes the rule that allows all out away.
        return {"id": identifier}


@handles("aws_default_security_group")
class DefaultSecurityGroup(Handler):
    """It exists with its VPC; taking it over takes its rules away."""

    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("ec2")
        where = [{"Name": "vpc-id", "Values": [planned["vpc_id"]]}]
        where.append({"Name": "group-name", "Values": ["default"]})
        (found,) = client.describe_security_groups(Filters=where)["SecurityGroups"]
        client.create_tags(Resources=[found["GroupId"]], Tags=tag_list(planned))
        _revoke_all(client, found["GroupId"])
        return {"id": found["GroupId"]}


def _revoke_all(client: Any, group: str) -> None:
    (found,) = client.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    for call, rules in (
        (client.revoke_security_group_ingress, found["IpPermissions"]),
        (client.revoke_security_group_egress, found["IpPermissionsEgress"]),
    ):
        if rules:
            call(GroupId=group, IpPermissions=rules)


@handles("aws_vpc_security_group_ingress_rule")
class IngressRule(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        span = {"CidrIp": planned["cidr_ipv4"], "Description": planned["description"]}
        rule = {"IpProtocol": planned["ip_protocol"], "IpRanges": [span]}
        rule |= {"FromPort": planned["from_port"], "ToPort": planned["to_port"]}
        answer = cloud.client("ec2").authorize_security_group_ingress(
            GroupId=planned["security_group_id"], IpPermissions=[rule]
        )
        return {"id": answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]}


@handles("aws_vpc_endpoint")
class Endpoint(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        client = cloud.client("ec2")
        names = {
            "vpc_id": "VpcId",
            "service_name": "ServiceName",
            "vpc_endpoint_type": "VpcEndpointType",
            "policy": "PolicyDocument",
            "route_table_ids": "RouteTableIds",
            "subnet_ids": "SubnetIds",
            "security_group_ids": "SecurityGroupIds",
            "private_dns_enabled": "PrivateDnsEnabled",
        }
        given = {api: planned[ours] for ours, api in names.items() if planned[ours]}
        identifier = client.create_vpc_endpoint(**given)["VpcEndpoint"]["VpcEndpointId"]
        client.create_tags(Resources=[identifier], Tags=tag_list(planned))
        return {"id": identifier}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[state["id"]])


@handles("aws_flow_log")
class FlowLog(Handler):
    def create(self, cloud: Cloud, planned: State, config: State) -> State:
        answer = cloud.client("ec2").create_flow_logs(
            ResourceIds=[planned["vpc_id"]],
            ResourceType="VPC",
            TrafficType=planned["traffic_type"],
            LogDestinationType="cloud-watch-logs",
            LogGroupName=planned["log_destination"].split(":log-group:")[1],
            DeliverLogsPermissionArn=planned["iam_role_arn"],
            MaxAggregationInterval=int(planned["max_aggregation_interval"]),
        )
        if answer.get("Unsuccessful"):
            raise RuntimeError(answer["Unsuccessful"])
        return {"id": answer["FlowLogIds"][0]}

    def delete(self, cloud: Cloud, state: State) -> None:
        cloud.client("ec2").delete_flow_logs(FlowLogIds=[state["id"]])
